"""A tiny SegGPT and a panoptic data set as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tiny_systems import tiny_seggpt, tiny_seggpt_config

from freeseg.data.panoptic import id2rgb

KITE, SKY = 7, 9  # category ids of the files
RED, BLUE = (230, 30, 30), (60, 120, 230)
HEIGHT, WIDTH = 40, 48


def write_model(folder: Path, seed: int = 3) -> list[str]:
    """The options that name it."""
    config, weights = folder / "seggpt.yaml", folder / "seggpt.pth"
    config.write_text(tiny_seggpt_config().dump())
    torch.save({"model": tiny_seggpt(seed).state_dict()}, weights)
    return ["--config-file", str(config), "--weights", str(weights)]


def kite(number: int) -> np.ndarray:
    """Bool [H, W]: where the kite of a photo is."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[12 + number : 30 + number, 4 * number : 4 * number + 22] = True
    return mask


def photo(number: int) -> np.ndarray:
    """A red kite in a blue sky."""
    image = np.full((HEIGHT, WIDTH, 3), BLUE, dtype=np.uint8)
    image[kite(number)] = RED
    return image


def write_picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_set(folder: Path, name: str, count: int = 4) -> list[str]:
    """A row of DATASETS.CUSTOM; the upper eight rows of every photo are void."""
    images, annotations = [], []
    for number in range(count):
        ids = np.where(kite(number), 1, 2)
        ids[:8] = 0
        write_picture(folder / "photos" / f"{number}.png", photo(number))
        write_picture(folder / "ids" / f"{number}.png", id2rgb(ids).astype(np.uint8))
        size = {"height": HEIGHT, "width": WIDTH}
        images.append({"id": number, "file_name": f"{number}.png", **size})
        segments = [
            {
                "id": one,
                "category_id": category,
                "iscrowd": 0,
                "area": int((ids == one).sum()),
                "bbox": [0, 0, WIDTH, HEIGHT],
            }
            for one, category in ((1, KITE), (2, SKY))
        ]
        row = {"image_id": number, "file_name": f"{number}.png", "segments_info": segments}
        annotations.append(row)
    categories = [
        {"id": KITE, "name": "kite", "isthing": 1},
        {"id": SKY, "name": "sky", "isthing": 0},
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "set.json").write_text(json.dumps(content))
    return [name, str(folder / "set.json"), str(folder / "photos"), str(folder / "ids")]
