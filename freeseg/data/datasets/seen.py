"""Datasets as an open-vocabulary model sees them: unseen classes removed from training sets.

A training set "..._seen" has the class list of its source, but no annotation of an unseen class:
those pixels are void. Metadata of training sets made so, and of the sets they are tested on, says
which classes are seen (`evaluation_set`, `trainable_flag`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import Metadata
from freeseg.catalog import amend, dataset_metadata, kept
from freeseg.data.datasets.catalog import (
    IGNORED_KEY,
    STUFF_KEY,
    Loader,
    Records,
    load_kept,
    load_records,
    register,
)
from freeseg.data.splits import load_split, split_metadata

# metadata that would lead around the filter, to files that still have all classes
_UNFILTERED_FILES = ("json_file", "sem_seg_root", "panoptic_json", "panoptic_root", "gt_dir")


@dataclass(frozen=True)
class _Sets:
    """Registered datasets that a published split is for.

    Attributes:
        split: Its name in `freeseg.data.splits`.
        train: Training sets, each with the published names of its seen part, if there are any.
        test: Sets to be tested on, with all classes.
    """

    split: str
    train: dict[str, Sequence[str]]
    test: Sequence[str]


PUBLISHED = (
    _Sets(
        "coco_stuff_156_15",
        {
            "coco_2017_train_stuff_sem_seg": ["coco_2017_train_stuff_base_sem_seg"],
            "coco_2017_train_full_task": ["coco_2017_train_full_task_base"],
        },
        ["coco_2017_val_stuff_sem_seg", "coco_2017_test_stuff_sem_seg"],
    ),
    _Sets(
        "coco_panoptic_122_11",
        {"coco_2017_train_panoptic": [], "coco_2017_train_panoptic_with_sem_seg": []},
        ["coco_2017_val_panoptic", "coco_2017_val_panoptic_with_sem_seg"],
    ),
    _Sets("coco_instance_73_7", {"coco_2017_train": []}, ["coco_2017_val"]),
    _Sets(
        "ade20k_135_15",
        {
            "ade20k_panoptic_train": ["ade20k_all_train_base"],
            "ade20k_sem_seg_train": [],
            "ade20k_instance_train": [],
        },
        ["ade20k_panoptic_val", "ade20k_all_val", "ade20k_sem_seg_val", "ade20k_instance_val"],
    ),
    _Sets(
        "voc_15_5",
        {"voc_2012_objects_sem_seg_train": ["voc_base_sem_seg_train"]},
        ["voc_2012_objects_sem_seg_val", "voc_sem_seg_test"],
    ),
)


def register_published_splits() -> None:
    """Register the seen part of training sets, and flag the classes of test sets."""
    for sets in PUBLISHED:
        unseen = load_split(sets.split).unseen
        for source, names in sets.train.items():
            for name in (f"{source}_seen", *names):
                keep_seen(name, source, unseen)
        for name in sets.test:
            amend(name, split_metadata(_class_names(kept(name).metadata), unseen))


def keep_seen(name: str, source: str, unseen: Collection[str]) -> None:
    """The same as `register_seen` of datasets of ours, whoever has registered their names."""
    entry = kept(source)
    names = [each for each in _class_names(entry.metadata) if each in unseen]
    _register(name, entry.metadata, lambda problems: load_kept(source, problems), names)


def register_seen(name: str, source: str, unseen: Collection[str]) -> None:
    """Register the registered dataset `source` without its unseen classes under another name.

    Class numbers stay. Images on which nothing is left are not loaded.

    Args:
        name: Of the new dataset.
        source: A registered dataset.
        unseen: Class names.

    Raises:
        ValueError: A name is no class of the source.
    """
    names = _class_names(dataset_metadata(source))
    foreign = sorted(set(unseen) - set(names))
    if foreign or not unseen:
        raise ValueError(
            f"wanted unseen classes of the dataset {source}, got {', '.join(foreign) or 'none'}"
        )
    metadata = dataset_metadata(source)
    _register(name, metadata, lambda problems: load_records(source, problems), unseen)


def _register(name: str, metadata: Metadata, load: Loader, unseen: Collection[str]) -> None:
    names = _class_names(metadata)
    values = {
        key: value
        for key, value in metadata.as_dict().items()
        if key != "name" and key not in _UNFILTERED_FILES
    }
    hidden = frozenset(number for number, each in enumerate(names) if each in unseen)
    register(
        name,
        lambda problems: seen_records(load(problems), hidden),
        {**values, **split_metadata(names, unseen)},
    )


def seen_records(records: Records, unseen: Collection[int]) -> Records:
    """Records without what is annotated with unseen class numbers, and those that show the rest."""
    result = []
    for record in records:
        key = next((key for key in ("segments_info", "annotations") if key in record), None)
        if key is None:
            result.append({**record, IGNORED_KEY: sorted(unseen)})
            continue
        rows = [row for row in record[key] if row["category_id"] not in unseen]
        kept: dict[str, Any] = {**record, key: rows}
        kept.pop("sem_seg_file_name", None)  # has all classes; the panoptic annotation says it all
        if STUFF_KEY in record:
            kept[IGNORED_KEY] = sorted({*unseen, *record.get(IGNORED_KEY, ())})
        if rows or STUFF_KEY in record:
            result.append(kept)
    return result


def _class_names(metadata: Metadata) -> list[str]:
    """Names in the order of class numbers."""
    return list(metadata.get("stuff_classes") or metadata.thing_classes)
