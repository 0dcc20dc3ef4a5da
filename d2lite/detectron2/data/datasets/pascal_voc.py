"""Pascal VOC's detection annotations."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial
from typing import Any

from detectron2.data.catalog import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathManager

__all__ = ["load_voc_instances", "register_pascal_voc"]

_NAMES = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
)
CLASS_NAMES = tuple(_NAMES.split())


def load_voc_instances(
    dirname: str, split: str, class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Load the boxes of a split, including the difficult ones.

    Args:
        dirname: folder with "Annotations", "ImageSets" and "JPEGImages".
        split: "train", "val", "trainval" or "test".
        class_names: in the order of category ids.
    """
    with PathManager.open(os.path.join(dirname, "ImageSets", "Main", f"{split}.txt")) as file:
        image_ids = [line.split()[0] for line in file if line.strip()]
    annotation_dir = PathManager.get_local_path(os.path.join(dirname, "Annotations/"))
    dataset_dicts = []
    for image_id in image_ids:
        with PathManager.open(os.path.join(annotation_dir, f"{image_id}.xml")) as file:
            tree = ET.parse(file)
        dataset_dicts.append(
            {
                "file_name": os.path.join(dirname, "JPEGImages", f"{image_id}.jpg"),
                "image_id": image_id,
                "height": int(tree.findtext("size/height")),
                "width": int(tree.findtext("size/width")),
                "annotations": [_to_object(obj, class_names) for obj in tree.iterfind("object")],
            }
        )
    return dataset_dicts


def _to_object(element: ET.Element, class_names: Sequence[str]) -> dict[str, Any]:
    corners = [float(element.findtext(f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")]
    # VOC counts pixels from 1 and includes the last: (1, W) is all of an image of width W.
    corners[0] -= 1.0
    corners[1] -= 1.0
    return {
        "category_id": class_names.index(element.findtext("name")),
        "bbox": corners,
        "bbox_mode": BoxMode.XYXY_ABS,
    }


def register_pascal_voc(
    name: str, dirname: str, split: str, year: int, class_names: Sequence[str] = CLASS_NAMES
) -> None:
    """Register a split of VOC 2007 or 2012 for detection."""
    DatasetCatalog.register(name, partial(load_voc_instances, dirname, split, class_names))
    MetadataCatalog.get(name).set(
        thing_classes=list(class_names), dirname=dirname, year=year, split=split
    )
