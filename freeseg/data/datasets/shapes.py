"""Shapes: generated on first use, so it needs no download and no preparation."""

from __future__ import annotations

import functools
from pathlib import Path

from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic
from freeseg.data.shapes import UNSEEN, ShapesSplit, categories, ensure_split
from freeseg.data.splits import split_metadata

SPLITS = (
    ShapesSplit("train", num_images=2000, seed=1),
    ShapesSplit("val", num_images=200, seed=2),
    ShapesSplit("seen_train", num_images=2000, seed=3, with_unseen=False),
    ShapesSplit("many_seen_train", num_images=16000, seed=4, with_unseen=False),
)


def register_shapes(root: Path) -> None:
    """Register shapes_{train,val,seen_train,many_seen_train}_panoptic under `root`/shapes.

    "seen_train" has no pixel of the unseen classes, for open-vocabulary training, and
    "many_seen_train" is eight times as large; the metadata of all names the seen and unseen
    classes in `evaluation_set`.
    """
    for split in SPLITS:
        register_split(f"shapes_{split.name}_panoptic", root / "shapes" / split.name, split)


def register_split(name: str, folder: Path, split: ShapesSplit) -> None:
    """Register one split, which is generated into `folder` when it is first loaded."""
    files = PanopticFiles(
        image_root=folder / "images",
        panoptic_root=folder / f"panoptic_{split.name}",
        panoptic_json=folder / f"panoptic_{split.name}.json",
        sem_seg_root=folder / f"sem_seg_{split.name}",
        instances_json=folder / f"instances_{split.name}.json",
        hint="remove the folder, it is generated anew",
    )
    register_panoptic(
        name,
        files,
        categories(),
        generate=functools.partial(ensure_split, folder, split),
        **split_metadata([row.name for row in categories()], UNSEEN),
    )
