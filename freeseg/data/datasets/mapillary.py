"""Mapillary Vistas 1.2: 65 classes, of which 37 are things; semantic and panoptic."""

from __future__ import annotations

from pathlib import Path

from freeseg.data.categories import load_categories
from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic
from freeseg.data.datasets.semantic import SemanticFiles, register_semantic

HINT = "see Mapillary under 'Datasets' in the documentation, and run `freeseg prepare mapillary`"
IGNORE_LABEL = 65  # "Unlabeled" of its label PNGs, whose values are the contiguous classes
FOLDERS = {"train": "training", "val": "validation"}


def register_mapillary(root: Path) -> None:
    """Register mapillary_vistas_{sem_seg,panoptic}_{train,val} under `root`/mapillary_vistas."""
    categories = load_categories("mapillary_vistas")
    for split, name in FOLDERS.items():
        folder = root / "mapillary_vistas" / name
        register_semantic(
            f"mapillary_vistas_sem_seg_{split}",
            SemanticFiles(folder / "images", folder / "labels", HINT),
            categories,
            ignore_label=IGNORE_LABEL,
        )
        register_panoptic(
            f"mapillary_vistas_panoptic_{split}",
            PanopticFiles(
                image_root=folder / "images",
                panoptic_root=folder / "panoptic",
                panoptic_json=folder / "panoptic" / "panoptic_2018.json",
                sem_seg_root=folder / "labels",
                hint=HINT,
            ),
            categories,
            "mapillary_vistas_panoptic_seg",
            ignore_label=IGNORE_LABEL,
        )
