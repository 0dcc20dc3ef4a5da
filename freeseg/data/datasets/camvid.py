"""CamVid, 11 classes, with approximate things (see freeseg.data.prepare.camvid)."""

from __future__ import annotations

from pathlib import Path

from freeseg.data.categories import load_categories
from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic


def register_camvid(root: Path) -> None:
    """Register camvid_{train,val}_panoptic under `root`/camvid."""
    folder = root / "camvid"
    for split in ("train", "val"):
        files = PanopticFiles(
            image_root=folder / split,
            panoptic_root=folder / f"panoptic_{split}",
            panoptic_json=folder / f"panoptic_{split}.json",
            sem_seg_root=folder / f"sem_seg_{split}",
            instances_json=folder / f"instances_{split}.json",
            hint="run `freeseg prepare camvid` (see 'Datasets' in the documentation)",
        )
        register_panoptic(f"camvid_{split}_panoptic", files, load_categories("camvid"))
