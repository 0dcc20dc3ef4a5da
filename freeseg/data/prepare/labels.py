"""Recodes label PNGs through a table of values, many files at a time.

Shapes: H W image size.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from freeseg.data.coco_writer import write_png
from freeseg.data.panoptic import LabelMap
from freeseg.data.prepare.job import is_fresh, parallel_map

IGNORE_LABEL = 255

Table = npt.NDArray[np.uint8]


def read_labels(path: Path) -> LabelMap:
    """Values [H, W] of a label PNG, or [H, W, 3]; of a palette image the indices, not colours."""
    with Image.open(path) as image:
        return np.array(image)


def value_table(class_of_value: Mapping[int, int]) -> Table:
    """Table of 256 entries; values without a class become IGNORE_LABEL."""
    table = np.full(256, IGNORE_LABEL, dtype=np.uint8)
    for value, class_id in class_of_value.items():
        table[value] = class_id
    return table


def recode(pairs: Sequence[tuple[Path, Path]], table: Table, workers: int, title: str) -> None:
    """Write table[labels] of every (source, target) pair whose target is not fresh."""
    for folder in {target.parent for _, target in pairs}:
        folder.mkdir(parents=True, exist_ok=True)
    parallel_map(functools.partial(_recode_one, table=table), pairs, workers, title)


def _recode_one(pair: tuple[Path, Path], table: Table) -> None:
    source, target = pair
    if is_fresh(target, source):
        return
    labels = read_labels(source)
    if labels.dtype != np.uint8 or labels.ndim != 2:
        raise ValueError(
            f"{source} must be an 8-bit one-channel PNG, got {labels.dtype} {list(labels.shape)}"
        )
    write_png(target, table[labels])
