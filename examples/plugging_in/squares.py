"""A dataset of one's own: registered in Detectron2's catalogue, made when it is first asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog

CLASSES = ["ground", "square"]
SIDE = 64


def register_squares(root: Path, num_images: int = 8) -> None:
    """Registers ``squares_train`` and ``squares_val`` with semantic PNGs under `root`."""
    for split, seed in (("train", 0), ("val", 1)):
        name = f"squares_{split}"
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        DatasetCatalog.register(name, lambda s=split, n=seed: make(root / s, num_images, n))
        MetadataCatalog.get(name).set(
            stuff_classes=CLASSES, thing_classes=[], ignore_label=255, evaluator_type="sem_seg"
        )


def make(folder: Path, num_images: int, seed: int) -> list[dict[str, Any]]:
    """Detectron2's records of bright squares on dark noise."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    records = []
    for index in range(num_images):
        labels = np.zeros((SIDE, SIDE), dtype=np.uint8)
        top, left = random.integers(0, SIDE - 24, size=2)
        labels[top : top + 24, left : left + 24] = 1
        photo = random.integers(0, 80, (SIDE, SIDE, 3)) + 150 * labels[..., None]
        image_file, label_file = folder / f"{index}.png", folder / f"{index}_labels.png"
        Image.fromarray(photo.astype(np.uint8)).save(image_file)
        Image.fromarray(labels).save(label_file)
        records.append(
            {
                "file_name": str(image_file),
                "sem_seg_file_name": str(label_file),
                "image_id": index,
                "height": SIDE,
                "width": SIDE,
            }
        )
    return records
