"""Registers well-known datasets by name; nothing is read until one is loaded.

They are looked for in the folder that the environment variable DETECTRON2_DATASETS names, or
in "datasets".
"""

from __future__ import annotations

import os
from functools import partial

from detectron2.data.catalog import DatasetCatalog, MetadataCatalog

from .builtin_meta import ADE20K_SEM_SEG_CATEGORIES, _get_builtin_metadata
from .cityscapes import load_cityscapes_instances, load_cityscapes_semantic
from .cityscapes_panoptic import register_all_cityscapes_panoptic
from .coco import load_sem_seg, register_coco_instances
from .coco_panoptic import register_coco_panoptic, register_coco_panoptic_separated
from .pascal_voc import register_pascal_voc

_COCO_IMAGES = {  # split -> folder of its images
    "2014_train": "train2014",
    "2014_val": "val2014",
    "2014_minival": "val2014",
    "2014_valminusminival": "val2014",
    "2017_train": "train2017",
    "2017_val": "val2017",
    "2017_test": "test2017",
    "2017_test-dev": "test2017",
    "2017_val_100": "val2017",
}


def _coco_split(split: str, kind: str) -> tuple[str, str]:
    """Return the folder of images and the JSON of one split."""
    year, _, part = split.partition("_")
    part, _, limit = part.partition("_")
    name = f"{part}{year}{'_' + limit if limit else ''}"
    return f"coco/{_COCO_IMAGES[split]}", f"coco/annotations/{kind}_{name}.json"


# family of metadata -> dataset name -> (image_root, json_file)
_PREDEFINED_SPLITS_COCO = {
    "coco": {
        f"coco_{split}": _coco_split(split, "image_info" if "test" in split else "instances")
        for split in _COCO_IMAGES
    },
    "coco_person": {
        f"keypoints_coco_{split}": _coco_split(split, "person_keypoints")
        for split in _COCO_IMAGES
        if "test" not in split
    },
}

# dataset name -> (panoptic_root, panoptic_json, semantic_root)
_PREDEFINED_SPLITS_COCO_PANOPTIC = {
    f"coco_2017_{split}_panoptic": (
        f"coco/panoptic_{folder}",
        f"coco/annotations/panoptic_{folder}.json",
        f"coco/panoptic_stuff_{folder}",
    )
    for split, folder in (("train", "train2017"), ("val", "val2017"), ("val_100", "val2017_100"))
}


def register_all_coco(root: str) -> None:
    """Register COCO's instances, keypoints and panoptic segmentation."""
    for family, splits in _PREDEFINED_SPLITS_COCO.items():
        for name, (image_root, json_file) in splits.items():
            register_coco_instances(
                name,
                _get_builtin_metadata(family),
                os.path.join(root, json_file) if "://" not in json_file else json_file,
                os.path.join(root, image_root),
            )
    for name, folders in _PREDEFINED_SPLITS_COCO_PANOPTIC.items():
        panoptic_root, panoptic_json, semantic_root = (os.path.join(root, f) for f in folders)
        instances = MetadataCatalog.get(name[: -len("_panoptic")])
        register_coco_panoptic_separated(
            name,
            _get_builtin_metadata("coco_panoptic_separated"),
            instances.image_root,
            panoptic_root,
            panoptic_json,
            semantic_root,
            instances.json_file,
        )
        register_coco_panoptic(
            name,
            _get_builtin_metadata("coco_panoptic_standard"),
            instances.image_root,
            panoptic_root,
            panoptic_json,
            instances.json_file,
        )


# dataset name with its task left open -> (image_dir, gt_dir)
_RAW_CITYSCAPES_SPLITS = {
    "cityscapes_fine_{task}_" + split: (
        f"cityscapes/leftImg8bit/{split}/",
        f"cityscapes/gtFine/{split}/",
    )
    for split in ("train", "val", "test")
}


def register_all_cityscapes(root: str) -> None:
    """Register Cityscapes for instance and for semantic segmentation."""
    meta = _get_builtin_metadata("cityscapes")
    for key, folders in _RAW_CITYSCAPES_SPLITS.items():
        image_dir, gt_dir = (os.path.join(root, folder) for folder in folders)
        common = {"image_dir": image_dir, "gt_dir": gt_dir, **meta}

        name = key.format(task="instance_seg")
        DatasetCatalog.register(name, partial(load_cityscapes_instances, image_dir, gt_dir))
        MetadataCatalog.get(name).set(evaluator_type="cityscapes_instance", **common)

        name = key.format(task="sem_seg")
        DatasetCatalog.register(name, partial(load_cityscapes_semantic, image_dir, gt_dir))
        MetadataCatalog.get(name).set(
            evaluator_type="cityscapes_sem_seg", ignore_label=255, **common
        )


def register_all_pascal_voc(root: str) -> None:
    """Register Pascal VOC 2007 and 2012 for detection."""
    for year, splits in ((2007, "trainval train val test"), (2012, "trainval train val")):
        for split in splits.split():
            name = f"voc_{year}_{split}"
            register_pascal_voc(name, os.path.join(root, f"VOC{year}"), split, year)
            MetadataCatalog.get(name).evaluator_type = "pascal_voc"


def register_all_ade20k(root: str) -> None:
    """Register ADE20K for semantic segmentation."""
    root = os.path.join(root, "ADEChallengeData2016")
    for split, folder in (("train", "training"), ("val", "validation")):
        image_dir = os.path.join(root, "images", folder)
        gt_dir = os.path.join(root, "annotations_detectron2", folder)
        name = f"ade20k_sem_seg_{split}"
        DatasetCatalog.register(name, partial(load_sem_seg, gt_dir, image_dir))
        MetadataCatalog.get(name).set(
            stuff_classes=list(ADE20K_SEM_SEG_CATEGORIES),
            image_root=image_dir,
            sem_seg_root=gt_dir,
            evaluator_type="sem_seg",
            ignore_label=255,
        )


_root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
register_all_coco(_root)
register_all_cityscapes(_root)
register_all_cityscapes_panoptic(_root)
register_all_pascal_voc(_root)
register_all_ade20k(_root)
