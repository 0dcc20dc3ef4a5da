"""Small annotation files in LVIS's form, and detections that their tests give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from detectron2.structures import Boxes, Instances
from freeseg.catalog import dataset_metadata

SIDE = 100
Box = tuple[int, int, int, int]  # xyxy


def lvis_content(
    categories: Sequence[tuple[int, str, str]],
    objects: Mapping[int, Sequence[tuple[int, Box]]],
    negative: Mapping[int, Sequence[int]],
    unfinished: Mapping[int, Sequence[int]],
) -> dict[str, Any]:
    """A file's content.

    Args:
        categories: Id, name and frequency.
        objects: Of every image, category and box; masks fill their boxes.
        negative: Categories that are known not to be in an image.
        unfinished: Categories of which an image has more than is marked.
    """
    images = [
        {
            "id": number,
            "coco_url": f"http://images.cocodataset.org/val2017/{number:012d}.jpg",
            "height": SIDE,
            "width": SIDE,
            "neg_category_ids": list(negative.get(number, ())),
            "not_exhaustive_category_ids": list(unfinished.get(number, ())),
        }
        for number in objects
    ]
    rows = [(number, *each) for number, some in objects.items() for each in some]
    annotations = [
        {
            "id": place,
            "image_id": number,
            "category_id": category,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
        }
        for place, (number, category, (left, top, right, bottom)) in enumerate(rows, start=1)
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": each, "name": name, "frequency": letter, "synonyms": [name]}
            for each, name, letter in categories
        ],
    }


def write_lvis(folder: Path, content: Mapping[str, Any], name: str = "lvis_v1_val.json") -> Path:
    """Writes a file under `folder`/lvis, and its photos under `folder`/coco; returns the file."""
    file = folder / "lvis" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    for image in content["images"]:
        photo = folder / "coco" / "val2017" / f"{image['id']:012d}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(photo), np.full((image["height"], image["width"], 3), 90, np.uint8))
    return file


def found_boxes(name: str, found: Sequence[tuple[int, Box, float]]) -> Instances:
    """Instances of categories (their ids in the file), boxes and scores; masks fill the boxes."""
    numbers = dataset_metadata(name).thing_dataset_id_to_contiguous_id
    boxes = torch.tensor([box for _, box, _ in found], dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(found), SIDE, SIDE, dtype=torch.bool)
    for mask, (_, (left, top, right, bottom), _) in zip(masks, found):
        mask[top:bottom, left:right] = True
    return Instances(
        (SIDE, SIDE),
        pred_boxes=Boxes(boxes),
        pred_masks=masks,
        pred_classes=torch.tensor([numbers[each] for each, _, _ in found], dtype=torch.int64),
        scores=torch.tensor([score for _, _, score in found]),
    )
