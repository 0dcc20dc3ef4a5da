"""Files with wrong bytes and ends: images, checkpoints, annotations, class lists, tar shards."""

from __future__ import annotations

import io
import json
import pickle
import random
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from freeseg.bulk.photos import photos_of
from freeseg.checkpoints import read_checkpoint
from freeseg.data import read_vocabulary
from freeseg.data.datasets.json_rows import read_json
from freeseg.images import read_image

Reader = Callable[[Path], Any]


@dataclass
class Count:
    """Of the files of one kind."""

    tried: int = 0
    refused: int = 0  # by an error of one line that names the file
    used: int = 0
    wrong: int = 0  # any other error


def run(seconds: float, seed: int) -> Iterator[tuple[str, Count]]:
    """Tries damaged files of each kind for so many seconds."""
    warnings.simplefilter("ignore")  # Pillow's remarks on what it can still read
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for name, content, read in _kinds():
            count, end = Count(), time.monotonic() + seconds
            path = Path(folder) / name
            while time.monotonic() < end:
                path.write_bytes(_damaged(content, chance))
                _try(count, path, read)
            yield name, count


def _try(count: Count, path: Path, read: Reader) -> None:
    count.tried += 1
    try:
        read(path)
        count.used += 1
    except (ValueError, OSError) as error:
        is_clear = path.name in str(error) and "\n" not in str(error)
        count.refused += is_clear
        count.wrong += not is_clear
    except Exception:
        count.wrong += 1


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """The content cut off, with wrong bytes, with a piece missing or one that comes twice."""
    broken = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(broken) + 1)
        stop = min(len(broken), start + chance.randint(1, 50))
        how = chance.randrange(4)
        if how == 0:
            del broken[start:]
        elif how == 1:
            broken[start:stop] = chance.randbytes(stop - start)
        elif how == 2:
            del broken[start:stop]
        else:
            broken[start:start] = broken[start:stop]
    return bytes(broken)


def _kinds() -> Iterator[tuple[str, bytes, Reader]]:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        yield f"photo.{kind.lower()}", buffer.getvalue(), read_image
    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    for name, is_zip in (("weights.pth", True), ("legacy.pth", False)):
        buffer = io.BytesIO()
        torch.save({"model": state}, buffer, _use_new_zipfile_serialization=is_zip)
        yield name, buffer.getvalue(), read_checkpoint
    yield "weights.pkl", pickle.dumps({k: v.numpy() for k, v in state.items()}), read_checkpoint
    yield "weights.safetensors", save(state), read_checkpoint
    rows = [{"id": i, "file_name": f"{i}.jpg", "height": 3, "width": 4} for i in range(9)]
    annotations = json.dumps({"images": rows, "annotations": [], "categories": []}).encode()
    yield "annotations.json", annotations, lambda path: read_json(path, "a hint")
    yield "classes.json", json.dumps(["car|auto", "sky: stuff", "🚲"]).encode(), read_vocabulary
    yield "shard.tar", _shard(pixels), _read_shard


def _shard(pixels: Any) -> bytes:
    buffer, photo = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(photo, "PNG")
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for index in range(3):
            member = tarfile.TarInfo(f"{index}.png")
            member.size = len(photo.getvalue())
            archive.addfile(member, io.BytesIO(photo.getvalue()))
    return buffer.getvalue()


def _read_shard(path: Path) -> None:
    for photo in photos_of([str(path)]):
        if photo.error:
            raise ValueError(photo.error)
