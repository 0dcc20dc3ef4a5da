"""Cityscapes' panoptic annotations, as its own scripts make them."""

from __future__ import annotations

import json
import logging
import os
from functools import partial
from typing import Any

from detectron2.data.catalog import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager

from .builtin_meta import CITYSCAPES_CATEGORIES, _joint_meta

logger = logging.getLogger(__name__)

_SCRIPTS = "cityscapesscripts/preparation"


def get_cityscapes_panoptic_files(
    image_dir: str, gt_dir: str, json_info: dict[str, Any]
) -> list[tuple[str, str, list[dict]]]:
    """Return (image file, label file, segments_info) for each annotation."""
    suffix = "_leftImg8bit.png"
    image_of = {}
    cities = PathManager.ls(image_dir)
    logger.info("%d cities found in '%s'.", len(cities), image_dir)
    for city in cities:
        folder = os.path.join(image_dir, city)
        for name in PathManager.ls(folder):
            assert name.endswith(suffix), f"{name} is not an image of Cityscapes"
            image_of[name[: -len(suffix)]] = os.path.join(folder, name)

    files = []
    for annotation in json_info["annotations"]:
        image_id, label_name = annotation["image_id"], annotation["file_name"]
        assert image_id in image_of, f"No image {image_id} found for annotation {label_name}"
        label_file = os.path.join(gt_dir, label_name)
        files.append((image_of[image_id], label_file, annotation["segments_info"]))
    assert files, f"No images found in {image_dir}"
    for path in files[0][:2]:
        assert PathManager.isfile(path), path
    return files


def load_cityscapes_panoptic(
    image_dir: str, gt_dir: str, gt_json: str, meta: dict[str, Any]
) -> list[dict[str, Any]]:
    """Load panoptic annotations.

    Args:
        image_dir: e.g. "cityscapes/leftImg8bit/train".
        gt_dir: e.g. "cityscapes/gtFine/cityscapes_panoptic_train".
        gt_json: e.g. "cityscapes/gtFine/cityscapes_panoptic_train.json".
        meta: "thing_dataset_id_to_contiguous_id" and "stuff_dataset_id_to_contiguous_id".

    Returns:
        One dict per image, with "sem_seg_file_name", "pan_seg_file_name" and "segments_info".
    """
    contiguous_id = {
        **meta["stuff_dataset_id_to_contiguous_id"],
        **meta["thing_dataset_id_to_contiguous_id"],
    }
    assert os.path.exists(gt_json), f"{gt_json} is made by {_SCRIPTS}/createPanopticImgs.py"
    with open(gt_json) as file:
        json_info = json.load(file)
    dataset_dicts = []
    for image_file, label_file, segments in get_cityscapes_panoptic_files(
        image_dir, gt_dir, json_info
    ):
        stem = image_file.replace("leftImg8bit", "gtFine").split(".")[0]
        dataset_dicts.append(
            {
                "file_name": image_file,
                "image_id": "_".join(os.path.basename(image_file).split("_")[:3]),
                "sem_seg_file_name": f"{stem}_labelTrainIds.png",
                "pan_seg_file_name": label_file,
                "segments_info": [
                    {**segment, "category_id": contiguous_id[segment["category_id"]]}
                    for segment in segments
                ],
            }
        )
    labels = dataset_dicts[0]["sem_seg_file_name"]
    assert PathManager.isfile(labels), f"{labels} is made by {_SCRIPTS}/createTrainIdLabelImgs.py"
    return dataset_dicts


# dataset name -> (image_dir, gt_dir, gt_json)
_RAW_CITYSCAPES_PANOPTIC_SPLITS = {
    f"cityscapes_fine_panoptic_{split}": (
        f"cityscapes/leftImg8bit/{split}",
        f"cityscapes/gtFine/cityscapes_panoptic_{split}",
        f"cityscapes/gtFine/cityscapes_panoptic_{split}.json",
    )
    for split in ("train", "val")
}


def register_all_cityscapes_panoptic(root: str) -> None:
    """Register Cityscapes for panoptic segmentation."""
    meta = _joint_meta(CITYSCAPES_CATEGORIES)
    for name, paths in _RAW_CITYSCAPES_PANOPTIC_SPLITS.items():
        image_dir, gt_dir, gt_json = (os.path.join(root, path) for path in paths)
        load = partial(load_cityscapes_panoptic, image_dir, gt_dir, gt_json, meta)
        DatasetCatalog.register(name, load)
        MetadataCatalog.get(name).set(
            evaluator_type="cityscapes_panoptic_seg",
            image_root=image_dir,
            panoptic_root=gt_dir,
            panoptic_json=gt_json,
            gt_dir=gt_dir.replace("cityscapes_panoptic_", ""),
            ignore_label=255,
            label_divisor=1000,
            **meta,
        )
