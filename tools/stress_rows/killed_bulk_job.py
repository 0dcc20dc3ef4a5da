"""A bulk job that is killed at random moments, again and again, and then left to end."""

from __future__ import annotations

import collections
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from freeseg.bulk import BulkJob, BulkSettings
from freeseg.bulk.parts import read_part
from freeseg.bulk.worker import ModelSettings

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "configs" / "Base-Mask2Former-small.yaml"
NUM_PHOTOS, CHUNK = 120, 3
LONGEST = 1.0  # seconds from the first sign of life to a kill


def run(num_kills: int, seed: int) -> tuple[int, int, int, int]:
    """Kills survived, photos, photos without a record, photos with several."""
    chance = random.Random(seed)
    context = multiprocessing.get_context("fork")  # no start-up: the kills hit the work
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = _photos(folder / "photos", seed)
        survived = 0
        for _ in range(num_kills):
            job = context.Process(target=_segment, args=(folder,))
            job.start()
            while job.is_alive() and not list(folder.glob("out/parts/.*.partial.*")):
                time.sleep(0.01)
            time.sleep(chance.uniform(0, LONGEST))
            was_alive = job.is_alive()
            job.kill()
            job.join()
            survived += was_alive and _parts_are_whole(folder / "out")
        _segment(folder)
        records = [row for part in _parts(folder / "out") for row in read_part(part)]
        times = collections.Counter(row["photo"] for row in records)
    lost = sum(times[photo] == 0 for photo in photos)
    twice = sum(times[photo] > 1 for photo in photos)
    return survived, len(photos), lost, twice


def _segment(folder: Path) -> None:
    model = ModelSettings(
        config=str(CONFIG),
        weights="",
        opts=("INPUT.MIN_SIZE_TEST", "48", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"),
    )
    settings = BulkSettings(num_workers=0, chunk_size=CHUNK)
    BulkJob([str(folder / "photos")], model, folder / "out", settings=settings).run()


def _photos(folder: Path, seed: int) -> list[str]:
    folder.mkdir()
    noise = np.random.default_rng(seed)
    paths = [folder / f"{index}.png" for index in range(NUM_PHOTOS)]
    for path in paths:
        Image.fromarray(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


def _parts(out: Path) -> list[Path]:
    return sorted((out / "parts").glob("part-????????.jsonl"))


def _parts_are_whole(out: Path) -> bool:
    try:
        return all(len(list(read_part(part))) == CHUNK for part in _parts(out))
    except ValueError:
        return False
