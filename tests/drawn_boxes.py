"""Pictures of coloured boxes with every kind of annotation, and a model that knows the colours.

Nothing here reads with the product's readers: a picture is drawn from a list of boxes, annotated
from the same list, and `answers` finds the boxes by their colours. What is then not 100 is lost by
the annotation or by us.

Shapes: H W picture size, K classes of the model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from detectron2.structures import Boxes, Instances

COLORS = {
    "bolt": (190, 30, 30),
    "nut": (30, 170, 60),
    "washer": (40, 70, 200),
    "gear": (220, 180, 20),
    "bench": (120, 80, 50),
    "felt": (60, 60, 60),
}
PARTS = ("bolt", "nut", "washer")
STUFF = ("bench", "felt")
NOTHING = (250, 250, 250)

Json = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """Boxes (class, left, top, width, height) on a background: a stuff class, or nothing."""

    file_name: str
    boxes: tuple[tuple[str, int, int, int, int], ...]
    background: str = ""
    size: tuple[int, int] = (50, 70)

    def pixels(self) -> np.ndarray:
        """RGB [H, W, 3]."""
        image = np.full((*self.size, 3), COLORS.get(self.background, NOTHING), np.uint8)
        for kind, left, top, width, height in self.boxes:
            image[top : top + height, left : left + width] = COLORS[kind]
        return image

    def ids(self) -> np.ndarray:
        """The boxes' numbers from 1 [H, W]; behind them the next one, or 0 where nothing is."""
        ids = np.full(self.size, len(self.boxes) + 1 if self.background else 0)
        for number, (_, left, top, width, height) in enumerate(self.boxes, 1):
            ids[top : top + height, left : left + width] = number
        return ids

    def kinds(self) -> list[str]:
        """The classes of the ids from 1."""
        return [box[0] for box in self.boxes] + [self.background] * bool(self.background)


def draw_scenes(
    folder: Path,
    number: int = 3,
    names: tuple[str, ...] = PARTS,
    background: str = "",
    seed: int = 1,
) -> list[Scene]:
    """Pictures of five boxes that do not touch, written as PNGs."""
    random = np.random.default_rng(seed)
    scenes = []
    for index in range(number):
        boxes = []
        for place in range(5):
            width, height = (int(side) for side in random.integers(7, 14, 2))
            left, top = 14 * place, int(random.integers(1, 35))
            boxes.append((names[(place + index) % len(names)], left, top, width - 1, height))
        scenes.append(Scene(f"part_{index}.png", tuple(boxes), background))
    write_scenes(folder, scenes)
    return scenes


def write_scenes(folder: Path, scenes: list[Scene]) -> None:
    for scene in scenes:
        path = folder / scene.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.pixels()).save(path)


def image_rows(scenes: list[Scene]) -> list[Json]:
    return [
        {"id": 10 + n, "file_name": one.file_name, "height": one.size[0], "width": one.size[1]}
        for n, one in enumerate(scenes)
    ]


def instance_json(scenes: list[Scene], ids: dict[str, int]) -> Json:
    """COCO instance annotation of the boxes, with category ids by name."""
    rows: list[Json] = []
    for number, scene in enumerate(scenes):
        for kind, x, y, w, h in scene.boxes:
            row = {"id": 100 + len(rows), "image_id": 10 + number, "category_id": ids[kind]}
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
            row |= {"segmentation": [polygon], "area": w * h, "bbox": [x, y, w, h], "iscrowd": 0}
            rows.append(row)
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": image_rows(scenes), "annotations": rows, "categories": categories}


def panoptic_json(scenes: list[Scene], ids: dict[str, int], folder: Path) -> Json:
    """COCO panoptic annotation; its PNGs are written below the folder."""
    rows = []
    for number, scene in enumerate(scenes):
        segment_ids = scene.ids() * 70_001  # all three channels
        write_ids(folder / scene.file_name, segment_ids)
        segments = [
            {
                "id": place * 70_001,
                "category_id": ids[kind],
                "area": int((segment_ids == place * 70_001).sum()),
                "iscrowd": 0,
            }
            for place, kind in enumerate(scene.kinds(), 1)
        ]
        row = {"image_id": 10 + number, "file_name": scene.file_name, "segments_info": segments}
        rows.append(row)
    categories = [
        {"id": number, "name": name, "isthing": int(name not in STUFF)}
        for name, number in ids.items()
    ]
    return {"images": image_rows(scenes), "annotations": rows, "categories": categories}


def write_ids(path: Path, ids: np.ndarray) -> None:
    """A panoptic PNG: R + 256 G + 65536 B."""
    channels = [ids & 255, ids >> 8 & 255, ids >> 16]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(path)


def label_map(scene: Scene, ids: dict[str, int], void: int = 255) -> np.ndarray:
    """Ids of the classes [H, W]."""
    table = np.array([void, *(ids[kind] for kind in scene.kinds())])
    return table[scene.ids()]


def write_json(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def answers(file_name: str, classes: tuple[str, ...], is_wrong: Any = lambda mask: mask) -> Json:
    """What a model with these K classes says of a picture, in all three forms.

    Args:
        file_name: Of the picture.
        classes: In the order of the model's outputs; colours of others are not found.
        is_wrong: Changes the mask of every found box.
    """
    pixels = np.array(Image.open(file_name).convert("RGB"))
    height, width = pixels.shape[:2]
    scores = torch.zeros(len(classes), height, width)
    ids, segments, masks, labels = np.zeros((height, width), np.int32), [], [], []
    for label, name in enumerate(classes):
        region = (pixels == COLORS.get(name, (1, 2, 3))).all(-1)
        is_thing = name not in STUFF
        for part in _parts(region) if is_thing else [region] * bool(region.any()):
            part = is_wrong(part)
            scores[label][torch.from_numpy(part)] = 1
            ids[part] = len(segments) + 1
            row = {"id": len(segments) + 1, "category_id": label, "isthing": is_thing}
            segments.append(row)
            if is_thing:
                masks.append(part)
                labels.append(label)
    instances = Instances((height, width))
    instances.pred_masks = torch.from_numpy(np.array(masks, bool).reshape(-1, height, width))
    instances.pred_boxes = Boxes(torch.tensor([_box(mask) for mask in masks]).reshape(-1, 4))
    instances.pred_classes = torch.tensor(labels, dtype=torch.int64)
    instances.scores = torch.ones(len(labels))
    panoptic = torch.from_numpy(ids), segments
    return {"sem_seg": scores, "instances": instances, "panoptic_seg": panoptic}


def _parts(region: np.ndarray) -> list[np.ndarray]:
    count, numbers = cv2.connectedComponents(region.astype(np.uint8))
    return [numbers == number for number in range(1, count)]


def _box(mask: np.ndarray) -> list[float]:
    rows, columns = np.nonzero(mask)
    return [float(x) for x in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]
