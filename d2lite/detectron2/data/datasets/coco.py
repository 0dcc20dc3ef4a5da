"""COCO's instance format and folders of label images, to dataset dicts and back."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import logging
import os
import shutil
from functools import partial
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
from fvcore.common.timer import Timer
from iopath.common.file_io import file_lock

from detectron2.data.catalog import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, PolygonMasks
from detectron2.utils.file_io import PathManager

__all__ = ["convert_to_coco_json", "load_coco_json", "load_sem_seg", "register_coco_instances"]

logger = logging.getLogger(__name__)


def load_coco_json(
    json_file: str,
    image_root: str,
    dataset_name: str | None = None,
    extra_annotation_keys: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Load boxes, masks and keypoints of a COCO instance JSON.

    Args:
        json_file: its path.
        image_root: the folder to which the file names in it are relative.
        dataset_name: given a name, category ids are made contiguous, in the order of their
            ids, and that mapping and the class names are put into the name's metadata.
        extra_annotation_keys: further keys of annotations to take over as they are.

    Returns:
        One dict per image, in the order of image ids.
    """
    coco_api = _open_coco(json_file)
    contiguous_id = None if dataset_name is None else _describe_classes(coco_api, dataset_name)
    image_ids = sorted(coco_api.imgs)
    _check_annotations(coco_api, image_ids, str(json_file))
    logger.info("Loaded %d images in COCO format from %s", len(image_ids), json_file)

    keys = ["iscrowd", "bbox", "keypoints", "category_id", *(extra_annotation_keys or [])]
    dataset_dicts = []
    num_without_mask = 0
    for image_id in image_ids:
        image = coco_api.imgs[image_id]
        annotations = coco_api.imgToAnns[image_id]
        objects = [_to_object(a, image_id, keys, contiguous_id) for a in annotations]
        usable = [obj for obj in objects if obj is not None]
        num_without_mask += len(objects) - len(usable)
        dataset_dicts.append(
            {
                "file_name": os.path.join(image_root, image["file_name"]),
                "height": image["height"],
                "width": image["width"],
                "image_id": image_id,
                "annotations": usable,
            }
        )
    if num_without_mask:
        logger.warning(
            "Left out %d objects whose polygons have fewer than 3 points each; something may be "
            "wrong with how %s was made",
            num_without_mask,
            json_file,
        )
    return dataset_dicts


def _open_coco(json_file: str) -> Any:
    from pycocotools.coco import COCO

    timer = Timer()
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress by printing
        coco_api = COCO(PathManager.get_local_path(json_file))
    if timer.seconds() > 1:
        logger.info("Loading %s takes %.2f seconds.", json_file, timer.seconds())
    return coco_api


def _describe_classes(coco_api: Any, dataset_name: str) -> dict[int, int]:
    """Put names and ids of the classes into the metadata; return the mapping of ids."""
    category_ids = sorted(coco_api.getCatIds())
    if category_ids != list(range(1, len(category_ids) + 1)) and "coco" not in dataset_name:
        logger.warning(
            "Category ids in annotations are not in [1, #categories]! "
            "They are mapped to contiguous ones in the order of their numbers."
        )
    metadata = MetadataCatalog.get(dataset_name)
    metadata.thing_classes = [coco_api.cats[category_id]["name"] for category_id in category_ids]
    contiguous_id = {category_id: i for i, category_id in enumerate(category_ids)}
    metadata.thing_dataset_id_to_contiguous_id = contiguous_id
    return contiguous_id


def _check_annotations(coco_api: Any, image_ids: list[int], json_file: str) -> None:
    """Check that annotations are unique, and say how many belong to no image."""
    annotation_ids = [a["id"] for image_id in image_ids for a in coco_api.imgToAnns[image_id]]
    if len(annotation_ids) < len(coco_api.anns):
        logger.warning(
            "%s contains %d annotations, but only %d of them match to images in the file.",
            json_file,
            len(coco_api.anns),
            len(annotation_ids),
        )
    if "minival" in json_file:  # the well-known (valminus)minival2014 have a few duplicates
        return
    assert len(set(annotation_ids)) == len(annotation_ids), (
        f"Annotation ids in '{json_file}' are not unique!"
    )


def _to_object(
    annotation: dict[str, Any], image_id: int, keys: list[str], contiguous_id: dict | None
) -> dict[str, Any] | None:
    """Return the annotation in Detectron2's format, or None if no polygon of it is valid."""
    assert annotation["image_id"] == image_id, f"an annotation of another image: {annotation}"
    assert annotation.get("ignore", 0) == 0, '"ignore" in COCO json file is not supported.'
    obj = {key: annotation[key] for key in keys if key in annotation}
    if "bbox" in obj and len(obj["bbox"]) == 0:
        raise ValueError(
            f"an annotation of image {image_id} has an empty 'bbox', which is not valid in COCO"
        )
    segmentation = annotation.get("segmentation")
    if segmentation:
        obj["segmentation"] = _to_segmentation(segmentation)
        if not obj["segmentation"]:
            return None
    if annotation.get("keypoints"):
        obj["keypoints"] = _shifted_keypoints(annotation["keypoints"], 0.5)
    obj["bbox_mode"] = BoxMode.XYWH_ABS
    if contiguous_id:
        category_id = obj["category_id"]
        if category_id not in contiguous_id:
            raise KeyError(
                f"Encountered category_id={category_id} "
                "but this id does not exist in 'categories' of the json file."
            )
        obj["category_id"] = contiguous_id[category_id]
    return obj


def _to_segmentation(segmentation: Any) -> Any:
    """Compress RLE; drop polygons which are not at least three pairs of numbers."""
    if not isinstance(segmentation, dict):
        return [polygon for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0]
    if isinstance(segmentation["counts"], list):
        return mask_util.frPyObjects(segmentation, *segmentation["size"])
    return segmentation


def _shifted_keypoints(keypoints: Any, offset: float) -> list[float]:
    """Move x and y of flat (x, y, visibility): COCO counts pixels, Detectron2 measures."""
    return [v if i % 3 == 2 else v + offset for i, v in enumerate(np.ravel(keypoints).tolist())]


def load_sem_seg(
    gt_root: str, image_root: str, gt_ext: str = "png", image_ext: str = "jpg"
) -> list[dict[str, str]]:
    """Pair the images of one folder with the label images of the same names in another.

    Args:
        gt_root: folder of label images.
        image_root: folder of images.
        gt_ext: ending of the labels' names.
        image_ext: ending of the images' names.

    Returns:
        Dicts with "file_name" and "sem_seg_file_name", in the order of names.
    """
    images, labels = _names_in(image_root, image_ext), _names_in(gt_root, gt_ext)
    assert labels, f"No annotations found in {gt_root}."
    names = [(image, label) for image, label in zip(sorted(images), sorted(labels))]
    if len(images) != len(labels):
        common = sorted(images & labels)
        logger.warning(
            "%s has %d images, %s has %d label images; using the %d that have both",
            image_root,
            len(images),
            gt_root,
            len(labels),
            len(common),
        )
        names = [(name, name) for name in common]
    logger.info("Loaded %d images with semantic segmentation from %s", len(names), image_root)
    return [
        {
            "file_name": os.path.join(image_root, image + image_ext),
            "sem_seg_file_name": os.path.join(gt_root, label + gt_ext),
        }
        for image, label in names
    ]


def _names_in(folder: str, ending: str) -> set[str]:
    """Return the file names with that ending, without it."""
    return {name[: -len(ending)] for name in PathManager.ls(folder) if name.endswith(ending)}


def convert_to_coco_dict(dataset_name: str) -> dict[str, Any]:
    """Convert a registered dataset to COCO's instance format.

    Args:
        dataset_name: has "thing_classes" in its metadata.

    Returns:
        What can be written as a COCO JSON.
    """
    dataset_dicts = DatasetCatalog.get(dataset_name)
    metadata = MetadataCatalog.get(dataset_name)
    original_id = {i: i for i in range(len(metadata.thing_classes))}
    if hasattr(metadata, "thing_dataset_id_to_contiguous_id"):
        pairs = metadata.thing_dataset_id_to_contiguous_id.items()
        original_id = {contiguous: original for original, contiguous in pairs}

    logger.info("Converting dataset dicts into COCO format")
    images, annotations = [], []
    for position, image in enumerate(dataset_dicts):
        image_id = image.get("image_id", position)
        images.append(
            {
                "id": image_id,
                "width": int(image["width"]),
                "height": int(image["height"]),
                "file_name": str(image["file_name"]),
            }
        )
        for obj in image.get("annotations", []):
            annotation = {"id": len(annotations) + 1, "image_id": image_id}  # from 1, as in COCO
            annotation.update(_to_annotation(obj, original_id))
            annotations.append(annotation)
    logger.info("Conversion finished, #images: %d, #annotations: %d", len(images), len(annotations))
    coco_dict = {
        "info": {
            "date_created": str(datetime.datetime.now()),
            "description": "Automatically generated COCO json file for Detectron2.",
        },
        "images": images,
        "categories": [
            {"id": original_id[i], "name": name} for i, name in enumerate(metadata.thing_classes)
        ],
        "licenses": None,
    }
    if annotations:
        coco_dict["annotations"] = annotations
    return coco_dict


def _to_annotation(obj: dict[str, Any], original_id: dict[int, int]) -> dict[str, Any]:
    bbox = obj["bbox"]
    if isinstance(bbox, np.ndarray):
        if bbox.ndim != 1:
            raise ValueError(f"bbox has to be 1-dimensional. Got shape={bbox.shape}.")
        bbox = bbox.tolist()
    if len(bbox) not in (4, 5):
        raise ValueError(f"bbox has to have 4 or 5 numbers, got {bbox}")
    mode = BoxMode.XYWH_ABS if len(bbox) == 4 else BoxMode.XYWHA_ABS
    bbox = BoxMode.convert(bbox, obj["bbox_mode"], mode)
    annotation = {
        "bbox": [round(float(number), 3) for number in bbox],
        "area": float(_area(obj, bbox)),
        "iscrowd": int(obj.get("iscrowd", 0)),
        "category_id": int(original_id[obj["category_id"]]),
    }
    if "keypoints" in obj:
        annotation["keypoints"] = _shifted_keypoints(obj["keypoints"], -0.5)
        num_labelled = sum(visibility > 0 for visibility in annotation["keypoints"][2::3])
        annotation["num_keypoints"] = obj.get("num_keypoints", num_labelled)
    if "segmentation" in obj:
        annotation["segmentation"] = _to_json(obj["segmentation"])
    return annotation


def _area(obj: dict[str, Any], bbox: list[float]) -> float:
    """Return the area of the mask, or of the box where there is none."""
    segmentation = obj.get("segmentation")
    if isinstance(segmentation, list):
        return PolygonMasks([segmentation]).area()[0].item()
    if isinstance(segmentation, dict):
        return mask_util.area(segmentation).item()
    if "segmentation" in obj:
        raise TypeError(f"Unknown segmentation type {type(segmentation)}!")
    if len(bbox) == 5:
        return bbox[2] * bbox[3]
    return Boxes([BoxMode.convert(bbox, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)]).area()[0].item()


def _to_json(segmentation: Any) -> Any:
    """Return polygons as they are, and RLE with text in place of bytes."""
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], bytes):
        return {**segmentation, "counts": segmentation["counts"].decode("ascii")}
    return segmentation


def convert_to_coco_json(dataset_name: str, output_file: str, allow_cached: bool = True) -> None:
    """Write a registered dataset as a COCO JSON.

    Args:
        dataset_name: see ``convert_to_coco_dict``.
        output_file: where to.
        allow_cached: leave a file that is there already as it is.
    """
    PathManager.mkdirs(os.path.dirname(output_file))
    with file_lock(output_file):
        if allow_cached and PathManager.exists(output_file):
            logger.warning(
                "Using the COCO annotations at '%s' which were there already; remove them if "
                "the dataset has changed",
                output_file,
            )
            return
        logger.info("Converting annotations of dataset '%s' to COCO format", dataset_name)
        coco_dict = convert_to_coco_dict(dataset_name)
        unfinished = output_file + ".tmp"
        with PathManager.open(unfinished, "w") as file:
            json.dump(coco_dict, file)
        shutil.move(unfinished, output_file)


def register_coco_instances(
    name: str, metadata: dict[str, Any], json_file: str, image_root: str
) -> None:
    """Register a dataset in COCO's instance (or keypoint) format.

    Args:
        name: to call it by.
        metadata: further facts about it, which can be an empty dict.
        json_file: see ``load_coco_json``.
        image_root: see ``load_coco_json``.
    """
    assert isinstance(name, str), f"a name should be a string, got {name!r}"
    for path in (json_file, image_root):
        assert isinstance(path, (str, os.PathLike)), f"a path should be a string, got {path!r}"
    if name not in DatasetCatalog:
        DatasetCatalog.register(name, partial(load_coco_json, json_file, image_root, name))
    MetadataCatalog.get(name).set(
        json_file=json_file, image_root=image_root, evaluator_type="coco", **metadata
    )
