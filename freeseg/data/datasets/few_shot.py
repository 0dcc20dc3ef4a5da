"""Training sets of the few-shot benchmarks: a fold's classes are void in them."""

from __future__ import annotations

from freeseg.data.datasets.seen import keep_seen
from freeseg.data.few_shot.benchmark import load_benchmark

SOURCES = {  # benchmark -> training set with all its classes
    "pascal_5i": "voc_2012_sem_seg_train",
    "coco_20i": "coco_2017_train_panoptic",
}


def register_fold_training_sets() -> None:
    """Register {pascal_5i,coco_20i}_fold{0..3}_train."""
    for name, source in SOURCES.items():
        benchmark = load_benchmark(name)
        for fold, classes in benchmark.folds.items():
            held_out = [benchmark.classes[each] for each in classes]
            keep_seen(f"{name}_fold{fold}_train", source, held_out)
