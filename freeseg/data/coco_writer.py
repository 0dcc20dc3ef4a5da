"""Writes a dataset in COCO form: panoptic JSON + PNGs, semantic PNGs and an instance JSON.

Shapes: H W image size.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle_codec

from freeseg.data.panoptic import IdMap, LabelMap, id2rgb, segment_geometry
from freeseg.files import write_bytes, write_one_of_many, write_text

Json = dict[str, Any]


class CocoWriter:
    """Collects the images of one split and writes their annotation files.

    Under `root`: `panoptic_SPLIT/*.png`, `panoptic_SPLIT.json`, `sem_seg_SPLIT/*.png`,
    `instances_SPLIT.json`. PNGs are written at once, the JSON files by `save`, last and atomically,
    so a JSON that exists belongs to a finished run.
    """

    def __init__(self, root: Path, split: str, categories: Sequence[Json], info: Json) -> None:
        self.root = Path(root)
        self.split = split
        self.categories = list(categories)
        self.info = dict(info)
        self.images: list[Json] = []
        self.panoptic: list[Json] = []
        self.instances: list[Json] = []
        self._is_thing = {int(row["id"]): bool(row["isthing"]) for row in self.categories}
        for folder in (self.panoptic_root, self.semantic_root):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def panoptic_root(self) -> Path:
        return self.root / f"panoptic_{self.split}"

    @property
    def semantic_root(self) -> Path:
        return self.root / f"sem_seg_{self.split}"

    def add(
        self,
        file_name: str,
        ids: IdMap,
        segments: Sequence[Json],
        semantic: LabelMap,
        **extra: Any,
    ) -> None:
        """Write one image's PNGs and record its segments; `extra` goes into its JSON row."""
        png_name = Path(file_name).with_suffix(".png").name
        panoptic = self.panoptic_root / png_name
        write_one_of_many(panoptic, _png_bytes(panoptic, id2rgb(ids)[..., ::-1]))
        semantics = self.semantic_root / png_name
        write_one_of_many(semantics, _png_bytes(semantics, semantic))

        image_id = len(self.images) + 1
        height, width = ids.shape
        self.images.append(
            {"id": image_id, "file_name": file_name, "height": height, "width": width, **extra}
        )
        geometry = segment_geometry(ids)
        rows = []
        for segment in segments:
            area, box = geometry[int(segment["id"])]
            rows.append({**segment, "area": area, "bbox": box})
            if self._is_thing[int(segment["category_id"])]:
                self.instances.append(self._instance(image_id, ids, rows[-1]))
        self.panoptic.append({"image_id": image_id, "file_name": png_name, "segments_info": rows})

    def save(self) -> tuple[Path, Path]:
        """Write the panoptic and the instance JSON and return their paths."""
        os.sync()  # the PNGs that they name
        common = {"info": self.info, "images": self.images}
        panoptic_json = self.root / f"panoptic_{self.split}.json"
        instances_json = self.root / f"instances_{self.split}.json"
        things = [row for row in self.categories if row["isthing"]]
        write_json(instances_json, {**common, "annotations": self.instances, "categories": things})
        write_json(
            panoptic_json, {**common, "annotations": self.panoptic, "categories": self.categories}
        )
        return panoptic_json, instances_json

    def _instance(self, image_id: int, ids: IdMap, segment: Mapping[str, Any]) -> Json:
        return {
            "id": len(self.instances) + 1,
            "image_id": image_id,
            "category_id": segment["category_id"],
            "iscrowd": segment["iscrowd"],
            "area": segment["area"],
            "bbox": segment["bbox"],
            "segmentation": encode_rle(ids == segment["id"]),
        }


def encode_rle(mask: LabelMap) -> Json:
    """COCO's compressed run-length code of a boolean mask [H, W], as JSON can hold it."""
    rle = rle_codec.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that `path` is either absent, the old file, or complete."""
    write_text(path, json.dumps(content))


def write_png(path: Path, image: LabelMap) -> None:
    """Write a one- or three-channel (BGR) PNG of 8 or 16 bits; what has no such PNG is an error."""
    write_bytes(path, _png_bytes(path, image))


def _png_bytes(path: Path, image: LabelMap) -> bytes:
    is_done = False
    if image.dtype in (np.uint8, np.uint16):  # of others OpenCV makes bytes, whatever they hold
        with contextlib.suppress(cv2.error):
            is_done, buffer = cv2.imencode(".png", image)
    if not is_done:
        raise OSError(f"could not encode {path} from an array of {image.dtype} {image.shape}")
    return buffer.tobytes()
