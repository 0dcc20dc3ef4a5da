"""Registers every known dataset under one root."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from freeseg.catalog import dataset_names, held_back
from freeseg.data.datasets.ade20k import register_ade20k
from freeseg.data.datasets.camvid import register_camvid
from freeseg.data.datasets.cityscapes import register_cityscapes
from freeseg.data.datasets.clips import register_clips
from freeseg.data.datasets.coco import register_coco
from freeseg.data.datasets.edges import register_edges
from freeseg.data.datasets.few_shot import register_fold_training_sets
from freeseg.data.datasets.interactive import register_interactive
from freeseg.data.datasets.lvis import register_lvis
from freeseg.data.datasets.mapillary import register_mapillary
from freeseg.data.datasets.referring import register_referring
from freeseg.data.datasets.roots import datasets_root, generated_root
from freeseg.data.datasets.seen import register_published_splits
from freeseg.data.datasets.shapes import register_shapes
from freeseg.data.datasets.voc import register_voc


def register_all(root: str | os.PathLike[str] | None = None) -> None:
    """(Re-)register all datasets with their files under `root`; reads nothing from the disk.

    Args:
        root: default $DETECTRON2_DATASETS, else ./datasets as in Detectron2. Without both, what is
            generated (Shapes) goes to the user's cache folder.
    """
    folder = Path(root).expanduser() if root else datasets_root()
    with held_back():
        register_coco(folder)
        register_lvis(folder)
        register_ade20k(folder)
        register_cityscapes(folder)
        register_mapillary(folder)
        register_voc(folder)
        register_published_splits()
        register_interactive(folder)
        register_edges(folder)
        register_referring(folder)
        register_clips(folder)
    register_camvid(folder)
    register_shapes(folder if root else generated_root())
    register_fold_training_sets()


def check_registered(names: Sequence[str]) -> None:
    """Refuses names that no dataset is registered under.

    Raises:
        ValueError: On the first of them; the message has those that look alike.
    """
    known = dataset_names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, cutoff=0.5)
            similar = f"did you mean {', '.join(near)}? " if near else ""
            hint = f"{similar}data of your own need their row of DATASETS.CUSTOM"
            raise ValueError(f"no dataset is registered as {name!r}; {hint}")
