"""COCO 2017: panoptic (133 classes), instances (80), COCO-Stuff (171) and both in one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from freeseg.data.categories import load_categories, metadata
from freeseg.data.datasets.catalog import (
    IGNORE_LABEL,
    IGNORED_KEY,
    STUFF_KEY,
    PanopticFiles,
    Records,
    load_panoptic,
    register,
    register_panoptic,
)
from freeseg.data.datasets.instances import register_instances
from freeseg.data.datasets.semantic import SemanticFiles, register_semantic
from freeseg.data.problems import Problems

# Published AP counts COCO's objects by the areas in its files, those without a pixel included.
PUBLISHED_TRUTH: dict[str, Any] = {"keeps_annotated_areas": True}
HINT = "see COCO under 'Datasets' in the documentation, and run `freeseg prepare coco`"


def register_coco(root: Path) -> None:
    """Register all COCO names under `root`/coco."""
    coco = root / "coco"
    for split in ("train", "val"):
        _register_panoptic(coco, split)
        things = [row for row in load_categories("coco_panoptic") if row.is_thing]
        for suffix, kind in (("", "instances"), ("_panoptic2instance", "panoptic2instances")):
            json_file = coco / "annotations" / f"{kind}_{split}2017.json"
            name, photos = f"coco_2017_{split}{suffix}", coco / f"{split}2017"
            register_instances(name, json_file, photos, things, HINT, **PUBLISHED_TRUTH)
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
    _register_full_task(coco)


def _register_panoptic(coco: Path, split: str) -> None:
    """The panoptic set, and the same with semantic PNGs, which Mask2Former evaluates on."""
    categories = load_categories("coco_panoptic")
    files = panoptic_files(coco, split)
    name = f"coco_2017_{split}_panoptic"
    register_panoptic(name, files, categories, **PUBLISHED_TRUTH)
    semantic = dataclasses.replace(files, sem_seg_root=coco / f"panoptic_semseg_{split}2017")
    register_panoptic(f"{name}_with_sem_seg", semantic, categories, **PUBLISHED_TRUTH)


def panoptic_files(coco: Path, split: str) -> PanopticFiles:
    """Where COCO's own annotation of a split is."""
    return PanopticFiles(
        image_root=coco / f"{split}2017",
        panoptic_root=coco / f"panoptic_{split}2017",
        panoptic_json=coco / "annotations" / f"panoptic_{split}2017.json",
        instances_json=coco / "annotations" / f"instances_{split}2017.json",
        hint=HINT,
    )


def _register_full_task(coco: Path) -> None:
    """The train set of FreeSeg's published configurations: things and COCO-Stuff's 91 stuff.

    Things are the segments of the panoptic annotation, every other pixel has its class in the
    semantic PNG of COCO-Stuff. The release merges both into new files before training.
    """
    stuff_root = coco / "stuffthingmaps_detectron2" / "train2017"
    things = dataclasses.replace(panoptic_files(coco, "train"), sem_seg_root=stuff_root)
    categories = load_categories("coco_stuff")
    values = {"ignore_label": IGNORE_LABEL, **metadata(categories)}

    def load(problems: Problems) -> Records:
        return _load_full_task(things, problems)

    register("coco_2017_train_full_task", load, values)


def _load_full_task(files: PanopticFiles, problems: Problems) -> Records:
    """Panoptic records with things alone, in the numbers of COCO-Stuff's table."""
    panoptic, stuff = load_categories("coco_panoptic"), load_categories("coco_stuff")
    number_of = {row.name: number for number, row in enumerate(stuff)}
    thing_numbers = [number for number, row in enumerate(stuff) if row.is_thing]
    records = load_panoptic(files, panoptic, problems)
    for record in records:
        record["segments_info"] = [
            {**row, "category_id": number_of[panoptic[row["category_id"]].name]}
            for row in record["segments_info"]
            if row["isthing"]
        ]
        record[STUFF_KEY] = record.pop("sem_seg_file_name")
        record[IGNORED_KEY] = thing_numbers  # where the two annotations disagree
    return records
