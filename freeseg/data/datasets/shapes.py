"""Shapes: generated on first use, so it needs no download and no preparation."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detectron2.structures import BoxMode
from freeseg.data.categories import metadata
from freeseg.data.datasets.catalog import (
    PanopticFiles,
    Records,
    load_records,
    register,
    register_panoptic,
)
from freeseg.data.problems import Problems
from freeseg.data.shapes import UNSEEN, ShapesSplit, categories, ensure_split
from freeseg.data.shapes.captions import draw_caption
from freeseg.data.splits import split_metadata

CAPTION_SEED = 5
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
    classes in `evaluation_set`. shapes_seen_train_phrases has the things of "seen_train" with
    captions.
    """
    for split in SPLITS:
        register_split(f"shapes_{split.name}_panoptic", root / "shapes" / split.name, split)
    register_phrases("shapes_seen_train_phrases", "shapes_seen_train_panoptic")


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


def register_phrases(name: str, source: str) -> None:
    """Registers the things of a split with captions, see `freeseg.data.shapes.captions`."""
    names = [row.name for row in categories()]

    def load(problems: Problems) -> Records:
        records = load_records(source, problems)
        return [_captioned(record, number, names) for number, record in enumerate(records)]

    things = [row for row in categories() if row.is_thing]
    register(name, load, {"evaluator_type": "coco", **metadata(things)})


def _captioned(record: Mapping[str, Any], number: int, names: Sequence[str]) -> dict[str, Any]:
    things = [row for row in record["segments_info"] if row["isthing"]]
    generator = np.random.default_rng([CAPTION_SEED, number])
    caption, spans = draw_caption([names[row["category_id"]] for row in things], generator)
    kept = {key: record[key] for key in ("file_name", "image_id", "height", "width")}
    annotations = [
        {
            "category_id": row["category_id"],
            "iscrowd": 0,
            "segmentation": None,
            "bbox": row["bbox"],
            "bbox_mode": BoxMode.XYWH_ABS,
            "phrases": [list(span) for span in found],
        }
        for row, found in zip(things, spans)
        if found
    ]
    return {**kept, "caption": caption, "annotations": annotations}
