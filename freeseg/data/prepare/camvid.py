"""CamVid in COCO-panoptic form, with things approximated by connected components.

Shapes: H W image size.
"""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from freeseg.data.categories import load_categories
from freeseg.data.coco_writer import CocoWriter
from freeseg.data.panoptic import LabelMap, components_to_panoptic
from freeseg.data.photos import images_in
from freeseg.data.prepare.job import Job, MissingFilesError, copy_if_changed, require

# value in CamVid's label files -> name in the category table; 11 is "unlabelled"
LABEL_NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence",
    "car", "pedestrian", "bicyclist",
)  # fmt: skip
UNLABELLED = 11
IGNORE_LABEL = 255
MIN_THING_AREA = 50  # about 7x7 pixels of 480x360; smaller components become crowd
APPROXIMATION = (
    "CamVid has no instance annotation. The car, pedestrian and bicyclist segments here are the "
    "8-connected components of the semantic labels, an approximation: objects that touch are one "
    f"segment, occluded ones may be several, and components under {MIN_THING_AREA} pixels are "
    "crowd. The semantic labels are unchanged."
)

logger = logging.getLogger(__name__)


def prepare_camvid(job: Job) -> None:
    """Write panoptic, semantic and instance annotation of both splits, and copy the images."""
    source, output = job.source, job.output
    hint = (
        "expected {train,val}/NAME.jpg (or .png) and {train,val}annot/NAME.png of the SegNet "
        "tutorial's CamVid; see 'Datasets' in the documentation"
    )
    require([source / f"{split}{kind}" for split in job.splits for kind in ("", "annot")], hint)
    pairs = {split: _pairs(source, split, hint) for split in job.splits}
    logger.info("%s", APPROXIMATION)
    for split in job.splits:
        _prepare_split(pairs[split], output, split)


def camvid_classes(labels: LabelMap) -> LabelMap:
    """Contiguous classes (things first, 255 ignored) of a CamVid label map."""
    names = [category.name for category in load_categories("camvid")]
    table = np.full(256, IGNORE_LABEL, dtype=np.uint8)
    for value, name in enumerate(LABEL_NAMES):
        table[value] = names.index(name)
    unknown = sorted(set(np.unique(labels).tolist()) - set(range(UNLABELLED + 1)))
    if unknown:
        raise ValueError(f"CamVid labels are 0..{UNLABELLED}, got {unknown[:5]}")
    return table[labels]


def _pairs(source: Path, split: str, hint: str) -> list[tuple[Path, Path]]:
    """Image and label file of every image of a split."""
    images = images_in(source / split)
    if not images:
        raise MissingFilesError([source / split / "*.jpg"], hint)
    labels = [source / f"{split}annot" / f"{image.stem}.png" for image in images]
    require(labels, hint)
    return list(zip(images, labels))


def _prepare_split(pairs: list[tuple[Path, Path]], output: Path, split: str) -> None:
    categories = load_categories("camvid")
    things = [index for index, category in enumerate(categories) if category.is_thing]
    info = {
        "description": f"CamVid {split}, 11 classes, in COCO-panoptic form",
        "approximation": APPROXIMATION,
        "licence": "CC BY-NC 4.0, research use",
    }
    writer = CocoWriter(output, split, [row.to_json() for row in categories], info)
    for image, label_file in tqdm(pairs, desc=f"camvid {split}"):
        labels = cv2.imread(str(label_file), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.ndim != 2:
            raise ValueError(f"{label_file} must be a one-channel PNG of class numbers")
        semantic = camvid_classes(labels)
        ids, segments = components_to_panoptic(semantic, things, IGNORE_LABEL, MIN_THING_AREA)
        for segment in segments:
            segment["category_id"] = categories[segment["category_id"]].id
        copy_if_changed(image, output / split / image.name)
        writer.add(image.name, ids, segments, semantic)
    panoptic_json, instances_json = writer.save()
    logger.info("wrote %s and %s", panoptic_json, instances_json)
