"""All that can be known of a dataset before it is used, in one list."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from freeseg.catalog import dataset_metadata, listed_vocabulary
from freeseg.classes import shown
from freeseg.data.check.clips import check_clips
from freeseg.data.check.maps import MAP_KEYS, check_maps
from freeseg.data.check.objects import check_objects, count_objects
from freeseg.data.check.photos import check_photos, check_twins
from freeseg.data.clips import CLIP_KEY, clip_of
from freeseg.data.datasets.catalog import ignore_label_of
from freeseg.data.datasets.edges import BOUNDARIES_KEY, read_boundaries
from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.datasets.referring import REFERRED_KEY
from freeseg.data.problems import Problems
from freeseg.data.records import dataset_records, identity_of, merged, photo_of
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
        needs_masks: False: boxes are learned and judged.
    """

    is_train: bool = True
    is_test: bool = False
    merge_twins: bool = False
    frame: str = "auto"
    white_level: int = FULL_WHITE
    max_objects: int = 0
    max_objects_key: str = ""
    tasks: tuple[str, ...] = ()
    needs_masks: bool = True


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
    records = _records(name, found)
    summary = _check(name, records, settings, found)
    problems.extend(found)
    return summary


def _check(
    name: str, records: Sequence[Record], settings: CheckSettings, problems: Problems
) -> DatasetSummary:
    if not records and not problems.errors:
        problems.error("records", f"{name}: has no images")
    records = _with_all_keys(name, records, problems)
    if any(BOUNDARIES_KEY in record for record in records):
        return _check_boundaries(name, records, settings, problems)
    if any(REFERRED_KEY in record for record in records):
        return _check_referring(name, records, settings, problems)
    if any(CLIP_KEY in record for record in records):
        return _check_clips(name, records, problems)
    _check_tasks(name, records, settings.tasks, problems)
    if settings.merge_twins:
        with problems.collecting("photos listed twice"):
            records = merged(records)
    else:
        check_twins(name, records, problems, is_test=settings.is_test)
    classes: Vocabulary | None = None
    with problems.collecting("classes"):
        classes = listed_vocabulary(name)
        _check_names(name, dataset_metadata(name))
    headers = check_photos(
        name, records, problems, frame=settings.frame, white_level=settings.white_level
    )
    photos = frozenset(identity_of(record) for record in records)
    if classes is None:  # what its objects are cannot be said either
        return DatasetSummary(name, photos, 0, 0)
    counts = count_objects(name, records, len(classes), problems, needs_masks=settings.needs_masks)
    has_objects = any(key in row for row in records for key in ("annotations", "segments_info"))
    if has_objects and (counts.objects or not problems.errors):  # else they are in those errors
        check_objects(name, counts, classes, problems, is_train=settings.is_train)
    void = ignore_label_of(name)
    check_maps(name, records, headers, classes, void, problems)
    if 0 < settings.max_objects < counts.most[0] and settings.is_train:
        problems.warn(
            "more objects than queries",
            f"{name}: {counts.most[1]} has {counts.most[0]} objects, the model "
            f"{settings.max_objects} queries: some are never learned; raise "
            f"{settings.max_objects_key}",
        )
    return DatasetSummary(name, photos, counts.objects, len(classes))


def _check_referring(
    name: str, records: Sequence[Record], settings: CheckSettings, problems: Problems
) -> DatasetSummary:
    """Looks at a set of objects that sentences mean, which has no classes."""
    frame, white_level = settings.frame, settings.white_level
    check_photos(name, records, problems, frame=frame, white_level=white_level)
    count = sum(len(record[REFERRED_KEY]) for record in records)
    return DatasetSummary(name, frozenset(identity_of(record) for record in records), count, 0)


def _check_clips(name: str, records: Sequence[Record], problems: Problems) -> DatasetSummary:
    """Looks at a set of clips, which has no classes."""
    clips = [clip_of(record) for record in records]
    check_clips(clips, problems)
    photos = frozenset(os.path.realpath(file) for clip in clips for file in clip.frames)
    return DatasetSummary(name, photos, sum(len(clip.begins) for clip in clips), 0)


def _check_boundaries(
    name: str, records: Sequence[Record], settings: CheckSettings, problems: Problems
) -> DatasetSummary:
    """Looks at a set of drawn boundaries, which has no classes."""
    frame, white_level = settings.frame, settings.white_level
    headers = check_photos(name, records, problems, frame=frame, white_level=white_level)
    collecting = problems.collecting("boundaries")
    for record in records:
        with collecting:
            height, width = read_boundaries(record).shape[1:]
            header = headers.get(photo_of(record))
            if header is not None and (height, width) != header.upright_size:
                raise ValueError(
                    f"{record[BOUNDARIES_KEY]} is {width}x{height} pixels, its photo is "
                    f"{header.upright_size[1]}x{header.upright_size[0]}"
                )
    return DatasetSummary(name, frozenset(identity_of(record) for record in records), 0, 0)


def _check_names(name: str, metadata: Any) -> None:
    """Refuses a list with a name twice, and things that are numbered apart from stuff.

    Raises:
        ValueError: Says which.
    """
    things, stuff = metadata.get("thing_classes") or (), metadata.get("stuff_classes") or ()
    for key, names in (("thing_classes", things), ("stuff_classes", stuff)):
        twin = next((each for each, count in Counter(names).items() if count > 1), None)
        if twin is not None:
            raise ValueError(f"{name}: {key} has {twin!r} twice; a class needs a name of its own")
    listed = set(stuff)
    apart = [each for each in things if each not in listed]
    if stuff and apart:
        raise ValueError(
            f"{name}: things and stuff are numbered apart (stuff_classes lacks {shown(apart)}), as "
            "Detectron2's separated sets; here stuff_classes lists all classes, and "
            "thing_dataset_id_to_contiguous_id says which are things"
        )


def _records(name: str, problems: Problems) -> Sequence[Record]:
    """Records of a dataset, none where its files say nothing."""
    try:
        return dataset_records(name, problems=problems)
    except MissingDataError:
        raise  # it is not here: nothing can be said about it
    except (ValueError, TypeError, OSError) as error:
        problems.error("annotation", str(error))
        return ()


def _with_all_keys(name: str, records: Sequence[Record], problems: Problems) -> list[Record]:
    """The records that have what every record needs; the others are errors."""
    complete = []
    owners: dict[Any, str] = {}
    for record in records:
        with problems.collecting("records"):
            _check_has_truth(name, record)
            photo, image_id = record["file_name"], record["image_id"]
            if image_id in owners:
                raise ValueError(
                    f"{name}: {owners[image_id]} and {photo} both have the image_id {image_id!r}; "
                    "ids must be unique"
                )
            owners[image_id] = photo
            complete.append(record)
    return complete


def _check_has_truth(name: str, record: Record) -> None:
    """Refuses a record without annotation.

    Raises:
        ValueError: Names it and what is wanted.
    """
    if not any(key in record for key in _TRUTH_KEYS):
        raise ValueError(
            f"{name}: {record['file_name']} has no ground truth: a record needs "
            "pan_seg_file_name, annotations or sem_seg_file_name"
        )


def _check_tasks(
    name: str, records: Sequence[Record], tasks: Sequence[str], problems: Problems
) -> None:
    """Names records without truth for the tasks that the set is used for."""
    has_json = bool(dataset_metadata(name).get("json_file"))
    for record in records:
        for task in tasks:
            keys = _KEYS[task]
            if not any(key in record for key in keys) and not (task == "instance" and has_json):
                problems.error(
                    f"records for the {task} task",
                    f"{name}: {record['file_name']} has no truth for the {task} task: wanted "
                    f"{' or '.join(keys)}",
                )


# what a record needs one of
_TRUTH_KEYS = ("annotations", *MAP_KEYS, BOUNDARIES_KEY, REFERRED_KEY, CLIP_KEY)

# the same by task
_KEYS = {
    "semantic": ("sem_seg_file_name", "pan_seg_file_name", "annotations"),
    "instance": ("annotations", "pan_seg_file_name"),
    "panoptic": ("pan_seg_file_name", "annotations", "sem_seg_file_name"),
}
