"""Pascal VOC 2012's segmentation labels by split, with and without the background class."""

from __future__ import annotations

import logging
from pathlib import Path

from freeseg.data.prepare.job import Job, MissingFilesError, require
from freeseg.data.prepare.labels import recode, value_table

HINT = "download VOCtrainval_11-May-2012.tar and unpack its VOCdevkit/VOC2012 here"
NUM_CLASSES = 21  # background first

logger = logging.getLogger(__name__)


def prepare_semantic(job: Job) -> None:
    """Write sem_seg_detectron2/ (21 classes) and sem_seg_objects_detectron2/ (20) for each split.

    Train is SegmentationClassAug without the val images (10,582) where that folder exists.
    """
    lists = job.source / "ImageSets" / "Segmentation"
    own, augmented = job.source / "SegmentationClass", job.source / "SegmentationClassAug"
    require([lists / "train.txt", lists / "val.txt", own, job.source / "JPEGImages"], HINT)
    val = (lists / "val.txt").read_text(encoding="utf-8").split()
    if augmented.is_dir():
        train = sorted({path.stem for path in augmented.glob("*.png")} - set(val))
    else:
        logger.info("no SegmentationClassAug: training on VOC's own list")
        train = (lists / "train.txt").read_text(encoding="utf-8").split()
    sources = {
        "train": [(augmented if augmented.is_dir() else own) / f"{name}.png" for name in train],
        "val": [own / f"{name}.png" for name in val],
    }
    sources = {split: sources[split] for split in job.splits}
    for split, files in sources.items():
        if not files:
            raise MissingFilesError([lists / f"{split}.txt (it is empty)"], HINT)
        require(files, HINT)
        require([job.source / "JPEGImages" / f"{file.stem}.jpg" for file in files], HINT)
    for split, files in sources.items():
        _recode_split(job, split, files)


def _recode_split(job: Job, split: str, files: list[Path]) -> None:
    with_background = value_table({value: value for value in range(NUM_CLASSES)})
    objects = value_table({value: value - 1 for value in range(1, NUM_CLASSES)})
    for kind, table in (("sem_seg", with_background), ("sem_seg_objects", objects)):
        output = job.output / f"{kind}_detectron2" / split
        pairs = [(file, output / file.name) for file in files]
        recode(pairs, table, job.workers, f"voc {kind} {split}")
