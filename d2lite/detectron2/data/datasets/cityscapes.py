"""Cityscapes' instance and semantic annotations."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import pycocotools.mask as mask_util
from PIL import Image

from detectron2.structures import BoxMode
from detectron2.utils.comm import get_world_size
from detectron2.utils.file_io import PathManager

from .builtin_meta import CITYSCAPES_CATEGORIES

logger = logging.getLogger(__name__)

_FIRST_INSTANCE_ID = 24  # ids of stuff are smaller


class _Label(NamedTuple):
    """A class in Cityscapes' own files."""

    id: int
    has_instances: bool  # and is evaluated


_OTHER_IDS = {  # classes which are not evaluated, but may cover others
    "unlabeled": 0,
    "ego vehicle": 1,
    "rectification border": 2,
    "out of roi": 3,
    "static": 4,
    "dynamic": 5,
    "ground": 6,
    "parking": 9,
    "rail track": 10,
    "guard rail": 14,
    "bridge": 15,
    "tunnel": 16,
    "polegroup": 18,
    "caravan": 29,
    "trailer": 30,
    "license plate": -1,
}
_LABELS = {  # name -> label
    **{name: _Label(label_id, False) for name, label_id in _OTHER_IDS.items()},
    **{c["name"]: _Label(c["id"], bool(c["isthing"])) for c in CITYSCAPES_CATEGORIES},
}
_CONTIGUOUS_ID = {
    label_id: i for i, label_id in enumerate(sorted(i for i, has in _LABELS.values() if has))
}


def _get_cityscapes_files(image_dir: str, gt_dir: str) -> list[tuple[str, str, str, str]]:
    """Return (image, instance ids, label ids, polygons), four paths for each image."""
    suffix = "leftImg8bit.png"
    files = []
    cities = PathManager.ls(image_dir)
    logger.info("%d cities found in '%s'.", len(cities), image_dir)
    for city in cities:
        for name in PathManager.ls(os.path.join(image_dir, city)):
            assert name.endswith(suffix), f"{name} is not an image of Cityscapes"
            stem = os.path.join(gt_dir, city, name[: -len(suffix)] + "gtFine_")
            labels = (stem + end for end in ("instanceIds.png", "labelIds.png", "polygons.json"))
            files.append((os.path.join(image_dir, city, name), *labels))
    assert files, f"No images found in {image_dir}"
    for path in files[0]:
        assert PathManager.isfile(path), path
    return files


def load_cityscapes_instances(
    image_dir: str, gt_dir: str, from_json: bool = True, to_polygons: bool = True
) -> list[dict[str, Any]]:
    """Load the objects, with contiguous category ids.

    Args:
        image_dir: e.g. "cityscapes/leftImg8bit/train".
        gt_dir: e.g. "cityscapes/gtFine/train".
        from_json: read polygons from the JSON files (this needs the package ``shapely``), not
            masks from the PNG files.
        to_polygons: give masks as polygons; as RLE otherwise, from PNG files only.
    """
    assert to_polygons or not from_json, "the JSON files hold polygons, which stay polygons"
    files = _get_cityscapes_files(image_dir, gt_dir)
    logger.info("Preprocessing cityscapes annotations ...")
    num_processes = max(multiprocessing.cpu_count() // get_world_size() // 2, 4)
    convert = partial(_cityscapes_files_to_dict, from_json=from_json, to_polygons=to_polygons)
    with multiprocessing.Pool(num_processes) as pool:
        dataset_dicts = pool.map(convert, files)
    logger.info("Loaded %d images from %s", len(dataset_dicts), image_dir)
    for image in dataset_dicts:
        for obj in image["annotations"]:
            obj["category_id"] = _CONTIGUOUS_ID[obj["category_id"]]
    return dataset_dicts


def load_cityscapes_semantic(image_dir: str, gt_dir: str) -> list[dict[str, Any]]:
    """Load the names of images and label images, whose values are training ids."""
    dataset_dicts = []
    gt_dir = PathManager.get_local_path(gt_dir)
    for image_file, _, label_file, json_file in _get_cityscapes_files(image_dir, gt_dir):
        with PathManager.open(json_file) as file:
            size = json.load(file)
        dataset_dicts.append(
            {
                "file_name": image_file,
                "sem_seg_file_name": label_file.replace("labelIds", "labelTrainIds"),
                "height": size["imgHeight"],
                "width": size["imgWidth"],
            }
        )
    labels = dataset_dicts[0]["sem_seg_file_name"]
    assert PathManager.isfile(labels), (
        f"{labels} is made by cityscapesscripts/preparation/createTrainIdLabelImgs.py"
    )
    return dataset_dicts


def _cityscapes_files_to_dict(
    files: tuple[str, str, str, str], from_json: bool, to_polygons: bool
) -> dict[str, Any]:
    """Read the annotations of one image, with Cityscapes' category ids."""
    image_file, instance_file, _, json_file = files
    if from_json:
        with PathManager.open(json_file) as file:
            content = json.load(file)
        height, width = content["imgHeight"], content["imgWidth"]
        annotations = _objects_from_polygons(content["objects"])
    else:
        with PathManager.open(instance_file, "rb") as file:
            instance_ids = np.asarray(Image.open(file))
        height, width = instance_ids.shape
        annotations = _objects_from_ids(instance_ids, to_polygons)
    return {
        "file_name": image_file,
        "image_id": os.path.basename(image_file),
        "height": height,
        "width": width,
        "annotations": list(annotations),
    }


def _objects_from_polygons(shapes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the visible parts of the objects, nearest first.

    In the file each polygon covers the ones before it, so going backwards each one loses what
    the later ones have taken.
    """
    try:
        from shapely.geometry import Polygon
    except ImportError as error:
        raise ImportError(
            "reading Cityscapes' polygons needs the package shapely: pip install shapely; "
            "load_cityscapes_instances(..., from_json=False) reads the PNG files without it"
        ) from error

    covered = Polygon()
    for shape in reversed(shapes):
        if "deleted" in shape:
            continue
        label, is_group = _find_label(shape["label"])
        if label.id < 0:
            continue
        # Half a pixel, as the numbers are pixel indices; and half a pixel outwards, because
        # the official rasterisation includes the outline.
        points = np.asarray(shape["polygon"], dtype=np.float32) + 0.5
        polygon = Polygon(points).buffer(0.5, 4)
        visible = polygon.difference(covered)
        if label.has_instances and visible.is_empty:
            continue
        covered = covered.union(polygon)
        if label.has_instances:
            parts = getattr(visible, "geoms", [visible])
            yield {
                "iscrowd": is_group,
                "category_id": label.id,
                # Holes cannot be told in COCO's format and are filled.
                "segmentation": [np.ravel(part.exterior.coords).tolist() for part in parts],
                "bbox": visible.bounds,
                "bbox_mode": BoxMode.XYXY_ABS,
            }


def _find_label(name: str) -> tuple[_Label, bool]:
    """Return the label of a name, and whether it is a group of objects ("cargroup")."""
    if name in _LABELS:
        return _LABELS[name], name.endswith("group")
    if name.endswith("group"):
        return _LABELS[name[: -len("group")]], True
    raise KeyError(f"'{name}' is not a class of Cityscapes")


def _objects_from_ids(instance_ids: np.ndarray, to_polygons: bool) -> Iterator[dict[str, Any]]:
    """Yield the objects of an id image: 1000 * class + number, or the class alone for a crowd."""
    for value in np.unique(instance_ids[instance_ids >= _FIRST_INSTANCE_ID]).tolist():
        is_crowd = value < 1000
        label_id = value if is_crowd else value // 1000
        if label_id not in _CONTIGUOUS_ID:
            continue
        mask = np.asarray(instance_ids == value, dtype=np.uint8, order="F")
        ys, xs = np.nonzero(mask)
        box = xs.min(), ys.min(), xs.max(), ys.max()
        if box[0] == box[2] or box[1] == box[3]:
            continue
        segmentation = _outlines(mask) if to_polygons else mask_util.encode(mask)
        if segmentation:
            yield {
                "iscrowd": is_crowd,
                "category_id": label_id,
                "segmentation": segmentation,
                "bbox": box,
                "bbox_mode": BoxMode.XYXY_ABS,
            }


def _outlines(mask: np.ndarray) -> list[list[int]]:
    """Return the outer outline of each part that has at least three points."""
    contours = cv2.findContours(mask.copy(), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[-2]
    return [contour.reshape(-1).tolist() for contour in contours if len(contour) >= 3]
