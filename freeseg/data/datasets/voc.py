"""Pascal VOC 2012 semantic segmentation: 21 classes with the background, or the 20 objects."""

from __future__ import annotations

from pathlib import Path

from freeseg.data.categories import load_categories
from freeseg.data.datasets.semantic import SemanticFiles, register_semantic

HINT = "see Pascal VOC under 'Datasets' in the documentation, and run `freeseg prepare voc`"


def register_voc(root: Path) -> None:
    """Register VOC 2012 under `root`/VOC2012, as prepare_voc.py lays it out.

    voc_2012_sem_seg_{train,val} has 21 classes, background first. voc_sem_seg_{train,test}, the
    name in published open-vocabulary configurations, has the 20 objects, background ignored, and is
    also registered as voc_2012_objects_sem_seg_{train,val}. Train is the augmented list of 10,582
    images where the user has it, else VOC's own 1,464.
    """
    voc = root / "VOC2012"
    categories = load_categories("voc2012")
    for split in ("train", "val"):

        def files(kind: str, split: str = split) -> SemanticFiles:
            return SemanticFiles(
                image_root=voc / "JPEGImages", sem_seg_root=voc / kind / split, hint=HINT
            )

        register_semantic(f"voc_2012_sem_seg_{split}", files("sem_seg_detectron2"), categories)
        published = {"train": "train", "val": "test"}[split]
        for name in (f"voc_2012_objects_sem_seg_{split}", f"voc_sem_seg_{published}"):
            register_semantic(name, files("sem_seg_objects_detectron2"), categories[1:])
