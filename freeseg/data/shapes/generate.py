"""Generates the splits of Shapes on the disk, once."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from freeseg.data.coco_writer import CocoWriter, write_json
from freeseg.data.panoptic import LabelMap
from freeseg.data.shapes.scene import Scene, render_scene
from freeseg.data.shapes.textures import stuff_tiles
from freeseg.data.shapes.vocabulary import UNSEEN, categories
from freeseg.files import write_one_of_many

VERSION = 1  # raise it when the same seed gives other images
JPEG_QUALITY = 92

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapesSplit:
    """Everything that a split's content depends on."""

    name: str
    num_images: int
    seed: int
    side: int = 128
    with_unseen: bool = True  # False: no class of UNSEEN occurs in any image
    version: int = VERSION

    def class_names(self) -> frozenset[str]:
        """Names that may occur."""
        names = frozenset(row.name for row in categories())
        return names if self.with_unseen else names - frozenset(UNSEEN)


def ensure_split(folder: Path, split: ShapesSplit) -> None:
    """Generate a split into `folder` unless it is there already.

    The split is made in a temporary folder and renamed, so another process sees all of it or
    nothing; if two processes make it at the same time, one result stays. A split that was made with
    other settings or by another version is replaced.
    """
    if _is_current(folder, split):
        return
    logger.info("generating Shapes %s (%d images) in %s", split.name, split.num_images, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        generate_split(partial, split)
        os.chmod(partial, 0o755)  # mkdtemp's own folders are private
        _replace(partial, folder, split)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def generate_split(folder: Path, split: ShapesSplit) -> None:
    """Write images and annotation of a split into an existing folder."""
    table = categories()
    info = {"description": "Shapes, a procedural dataset", "generator": asdict(split)}
    writer = CocoWriter(folder, split.name, [row.to_json() for row in table], info)
    (folder / "images").mkdir()
    tiles = stuff_tiles(np.random.default_rng([split.seed, VERSION]), 4 * split.side)
    class_of_name = {row.name: index for index, row in enumerate(table)}
    names = split.class_names()
    for number in tqdm(range(split.num_images), desc=f"shapes {split.name}"):
        scene = render_scene(
            np.random.default_rng([split.seed, VERSION, number]), tiles, split.side, names
        )
        file_name = f"{number:05d}.jpg"
        _write_jpeg(folder / "images" / file_name, scene.image)
        _add(writer, file_name, scene, class_of_name)
    writer.save()
    write_json(folder / "split.json", asdict(split))


def _add(writer: CocoWriter, file_name: str, scene: Scene, class_of_name: dict[str, int]) -> None:
    classes = np.array([class_of_name[name] for name in scene.names])
    semantic: LabelMap = classes.astype(np.uint8)[scene.ids - 1]
    segments: list[dict[str, Any]] = [
        {"id": number, "category_id": int(class_id) + 1, "iscrowd": 0}
        for number, class_id in enumerate(classes, start=1)
    ]
    writer.add(file_name, scene.ids, segments, semantic, caption=scene.caption)


def _write_jpeg(path: Path, image: LabelMap) -> None:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, buffer = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), options)
    if not done:
        raise OSError(f"could not encode {path}")
    write_one_of_many(path, buffer.tobytes())


def _is_current(folder: Path, split: ShapesSplit) -> bool:
    try:
        content = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(content == asdict(split))


def _replace(source: Path, target: Path, split: ShapesSplit) -> None:
    """Rename `source` to `target`; an outdated target is moved out of the way first."""
    for _ in range(2):
        try:
            os.rename(source, target)
            return
        except OSError:  # the target exists and is not empty
            if _is_current(target, split):
                return  # another process was faster
            outdated = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            os.rename(target, outdated / "old")
            shutil.rmtree(outdated, ignore_errors=True)
    raise OSError(f"could not put Shapes into {target}; remove that folder and try again")
