"""All that can be known of a dataset before it is used, in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.data import MetadataCatalog
from freeseg.data.check.maps import MAP_KEYS, check_maps
from freeseg.data.check.objects import check_objects, count_objects
from freeseg.data.check.photos import check_photos, check_twins
from freeseg.data.problems import Problems
from freeseg.data.records import dataset_records, photo_of
from freeseg.images import FULL_WHITE
from freeseg.structures import Vocabulary

Record = Mapping[str, Any]


@dataclass(frozen=True)
class CheckSettings:
    """How a dataset is going to be used.

    Attributes:
        is_train: Trained on.
        is_test: Evaluated on.
        merge_twins: As DATASETS.MERGE_TWINS.
        frame: As INPUT.EXIF.
        white_level: As INPUT.WHITE_LEVEL.
        max_objects: Objects of a photo that can be learned, the number of queries; 0: any.
        max_objects_key: Of the configuration.
        tasks: That it must have truth for.
    """

    is_train: bool = True
    is_test: bool = False
    merge_twins: bool = False
    frame: str = "auto"
    white_level: int = FULL_WHITE
    max_objects: int = 0
    max_objects_key: str = ""
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSummary:
    """What a dataset holds."""

    name: str
    photos: frozenset[str]
    objects: int
    classes: int


def check_dataset(name: str, settings: CheckSettings, problems: Problems) -> DatasetSummary:
    """Looks at the annotation, every photo and every PNG of a registered dataset.

    Headers and ends of all files are read, PNGs decoded up to a thousand; what was found out is
    remembered until a file changes.

    Args:
        name: Of the dataset.
        settings: How it is going to be used.
        problems: Gets what is wrong.

    Raises:
        MissingDataError: The dataset is not here.
    """
    found = Problems()
    records = dataset_records(name, problems=found)
    summary = _check(name, records, settings, found)
    problems.extend(found)
    return summary


def _check(
    name: str, records: Sequence[Record], settings: CheckSettings, problems: Problems
) -> DatasetSummary:
    records = _with_keys(name, records, settings.tasks, problems)
    if not settings.merge_twins:
        check_twins(name, records, problems, is_test=settings.is_test)
    metadata = MetadataCatalog.get(name)
    classes = Vocabulary.of_dataset(metadata)
    if classes is None:
        line = f"{name} names no classes: its metadata needs thing_classes or stuff_classes"
        problems.error("classes", line)
        classes = Vocabulary((), ())
    headers = check_photos(
        name, records, problems, frame=settings.frame, white_level=settings.white_level
    )
    counts = count_objects(name, records, len(classes), problems)
    if any(key in record for record in records for key in ("annotations", "segments_info")):
        check_objects(name, counts, classes, problems, is_train=settings.is_train)
    void = int(metadata.get("ignore_label", 255))
    check_maps(name, records, headers, classes, void, problems)
    if 0 < settings.max_objects < counts.most[0] and settings.is_train:
        problems.warn(
            "more objects than queries",
            f"{name}: {counts.most[1]} has {counts.most[0]} objects, the model "
            f"{settings.max_objects} queries: some are never learned; raise "
            f"{settings.max_objects_key}",
        )
    photos = frozenset(photo_of(record) for record in records)
    return DatasetSummary(name, photos, counts.objects, len(classes))


def _with_keys(
    name: str, records: Sequence[Record], tasks: Sequence[str], problems: Problems
) -> list[Record]:
    """The records that say where their photo is; what others lack, and the tasks need, is named."""
    if not records and not problems.errors:
        problems.error("records", f"{name}: has no images")
    has_json = bool(MetadataCatalog.get(name).get("json_file"))
    kept = []
    for number, record in enumerate(records):
        if not isinstance(record.get("file_name"), str):
            problems.error("records", f"{name}: record {number} needs 'file_name', the photo")
            continue
        kept.append(record)
        if not any(key in record for key in ("annotations", *MAP_KEYS)):
            problems.error(
                "records",
                f"{name}: {record['file_name']} has no ground truth: a record needs "
                "pan_seg_file_name, annotations or sem_seg_file_name",
            )
            continue
        for task in tasks:
            keys = _KEYS[task]
            if not any(key in record for key in keys) and not (task == "instance" and has_json):
                problems.error(
                    f"records for the {task} task",
                    f"{name}: {record['file_name']} has no truth for the {task} task: wanted "
                    f"{' or '.join(keys)}",
                )
    return kept


# what a record needs one of, by task
_KEYS = {
    "semantic": ("sem_seg_file_name", "pan_seg_file_name", "annotations"),
    "instance": ("annotations", "pan_seg_file_name"),
    "panoptic": ("pan_seg_file_name", "annotations", "sem_seg_file_name"),
}
