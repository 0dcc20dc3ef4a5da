"""COCO 2017: panoptic (133 classes), instances (80) and COCO-Stuff (171)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from freeseg.data.categories import load_categories
from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic
from freeseg.data.datasets.instances import register_instances
from freeseg.data.datasets.semantic import SemanticFiles, register_semantic

HINT = "see COCO in datasets/README.md, and run `python datasets/prepare_coco.py`"


def register_coco(root: Path) -> None:
    """Register all COCO names under `root`/coco."""
    coco = root / "coco"
    for split in ("train", "val"):
        _register_panoptic(coco, split)
        things = [row for row in load_categories("coco_panoptic") if row.is_thing]
        register_instances(
            f"coco_2017_{split}",
            coco / "annotations" / f"instances_{split}2017.json",
            coco / f"{split}2017",
            things,
            HINT,
        )
        stuff = SemanticFiles(
            image_root=coco / f"{split}2017",
            sem_seg_root=coco / "stuffthingmaps_detectron2" / f"{split}2017",
            hint=HINT,
        )
        # published configurations of open-vocabulary models call the val images "test"
        for name in {"train": ["train"], "val": ["val", "test"]}[split]:
            register_semantic(
                f"coco_2017_{name}_stuff_sem_seg", stuff, load_categories("coco_stuff")
            )


def _register_panoptic(coco: Path, split: str) -> None:
    """The panoptic set, and the same with semantic PNGs, which Mask2Former evaluates on."""
    categories = load_categories("coco_panoptic")
    files = PanopticFiles(
        image_root=coco / f"{split}2017",
        panoptic_root=coco / f"panoptic_{split}2017",
        panoptic_json=coco / "annotations" / f"panoptic_{split}2017.json",
        instances_json=coco / "annotations" / f"instances_{split}2017.json",
        hint=HINT,
    )
    name = f"coco_2017_{split}_panoptic"
    register_panoptic(name, files, categories)
    semantic = dataclasses.replace(files, sem_seg_root=coco / f"panoptic_semseg_{split}2017")
    register_panoptic(f"{name}_with_sem_seg", semantic, categories)
