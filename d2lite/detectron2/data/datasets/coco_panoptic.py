"""COCO's panoptic format, with joint or with separate ids for things and stuff."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

from detectron2.data.catalog import DatasetCatalog, MetadataCatalog
from detectron2.utils.file_io import PathManager

from .coco import load_coco_json, load_sem_seg

__all__ = ["register_coco_panoptic", "register_coco_panoptic_separated"]


def load_coco_panoptic_json(
    json_file: str, image_dir: str, gt_dir: str, meta: dict[str, Any]
) -> list[dict[str, Any]]:
    """Load a COCO panoptic JSON.

    Args:
        json_file: its path.
        image_dir: folder of the images, which are the .jpg of the annotations' names.
        gt_dir: folder of the PNGs in it.
        meta: "thing_dataset_id_to_contiguous_id" and "stuff_dataset_id_to_contiguous_id".

    Returns:
        One dict per image, with "pan_seg_file_name" and "segments_info".
    """
    with PathManager.open(json_file) as file:
        annotations = json.load(file)["annotations"]
    dataset_dicts = []
    for annotation in annotations:
        stem, _ = os.path.splitext(annotation["file_name"])
        dataset_dicts.append(
            {
                "file_name": os.path.join(image_dir, stem + ".jpg"),
                "image_id": int(annotation["image_id"]),
                "pan_seg_file_name": os.path.join(gt_dir, annotation["file_name"]),
                "segments_info": [_to_segment(s, meta) for s in annotation["segments_info"]],
            }
        )
    assert dataset_dicts, f"No images found in {image_dir}!"
    for key in ("file_name", "pan_seg_file_name"):
        assert PathManager.isfile(dataset_dicts[0][key]), dataset_dicts[0][key]
    return dataset_dicts


def _to_segment(segment: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    """Return the segment with its contiguous id, and whether it is a thing."""
    is_thing = segment["category_id"] in meta["thing_dataset_id_to_contiguous_id"]
    kind = "thing" if is_thing else "stuff"
    category_id = meta[f"{kind}_dataset_id_to_contiguous_id"][segment["category_id"]]
    return {**segment, "category_id": category_id, "isthing": is_thing}


def register_coco_panoptic(
    name: str,
    metadata: dict[str, Any],
    image_root: str,
    panoptic_root: str,
    panoptic_json: str,
    instances_json: str | None = None,
) -> None:
    """Register a dataset in COCO's panoptic format, with one space of contiguous ids.

    Args:
        name: to call it by.
        metadata: facts about it, with the mappings of ids.
        image_root: folder of the images.
        panoptic_root: folder of the PNGs.
        panoptic_json: see ``load_coco_panoptic_json``.
        instances_json: the instance annotations of the same images, for evaluation.
    """
    DatasetCatalog.register(
        name, partial(load_coco_panoptic_json, panoptic_json, image_root, panoptic_root, metadata)
    )
    MetadataCatalog.get(name).set(
        evaluator_type="coco_panoptic_seg",
        image_root=image_root,
        panoptic_root=panoptic_root,
        panoptic_json=panoptic_json,
        json_file=instances_json,
        ignore_label=255,
        label_divisor=1000,
        **metadata,
    )


def register_coco_panoptic_separated(
    name: str,
    metadata: dict[str, Any],
    image_root: str,
    panoptic_root: str,
    panoptic_json: str,
    sem_seg_root: str,
    instances_json: str,
) -> None:
    """Register panoptic data as Panoptic FPN uses it: objects from COCO's instance annotations.

    Those are polygons, which may overlap, under "``name``_separated". Semantic labels come
    from images in which all things are 0 and stuff is counted from 1; these alone are
    registered as "``name``_stuffonly".

    Args:
        name: the first part of both names.
        metadata: facts about the dataset.
        image_root: folder of the images.
        panoptic_root: folder of the panoptic PNGs, for evaluation.
        panoptic_json: the panoptic JSON, for evaluation.
        sem_seg_root: folder of the semantic label images.
        instances_json: the JSON of instances.
    """
    panoptic_name, semantic_name = f"{name}_separated", f"{name}_stuffonly"
    common = {"image_root": image_root, "sem_seg_root": sem_seg_root, "ignore_label": 255}

    def load_separated() -> list[dict[str, Any]]:
        objects = load_coco_json(instances_json, image_root, panoptic_name)
        return merge_to_panoptic(objects, load_sem_seg(sem_seg_root, image_root))

    DatasetCatalog.register(panoptic_name, load_separated)
    MetadataCatalog.get(panoptic_name).set(
        evaluator_type="coco_panoptic_seg",
        panoptic_root=panoptic_root,
        panoptic_json=panoptic_json,
        json_file=instances_json,
        **common,
        **metadata,
    )
    DatasetCatalog.register(semantic_name, partial(load_sem_seg, sem_seg_root, image_root))
    MetadataCatalog.get(semantic_name).set(evaluator_type="sem_seg", **common, **metadata)


def merge_to_panoptic(
    detection_dicts: list[dict[str, Any]], sem_seg_dicts: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Join dicts of objects with the dicts of semantic labels of the same "file_name"."""
    labels_of = {image["file_name"]: image for image in sem_seg_dicts}
    assert labels_of, "there are no semantic labels"
    return [{**image, **labels_of[image["file_name"]]} for image in detection_dicts]
