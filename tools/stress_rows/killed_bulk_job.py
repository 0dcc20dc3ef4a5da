"""A bulk job that is killed at random moments, again and again, and then left to end."""

from __future__ import annotations

import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from freeseg.bulk.parts import read_part

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "configs" / "Base-Mask2Former-small.yaml"
NUM_PHOTOS = 60
LONGEST = 8.0  # seconds until a kill


def run(num_kills: int, seed: int) -> tuple[int, int, int, int]:
    """Kills survived, photos, photos without a record, photos with several."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = _photos(folder / "photos", seed)
        survived = 0
        for _ in range(num_kills):
            job = _start(folder)
            time.sleep(chance.uniform(0, LONGEST))
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
            survived += _parts_are_whole(folder / "out")
        _start(folder).wait()
        records = [row for part in _parts(folder / "out") for row in read_part(part)]
        times = collections.Counter(row["photo"] for row in records)
    lost = sum(times[photo] == 0 for photo in photos)
    twice = sum(times[photo] > 1 for photo in photos)
    return survived, len(photos), lost, twice


def _photos(folder: Path, seed: int) -> list[str]:
    folder.mkdir()
    noise = np.random.default_rng(seed)
    paths = [folder / f"{index}.png" for index in range(NUM_PHOTOS)]
    for path in paths:
        Image.fromarray(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
    return [str(path) for path in paths]


def _start(folder: Path) -> subprocess.Popen[bytes]:
    tool = REPOSITORY / "tools" / "segment_dataset.py"
    command = [
        *(sys.executable, str(tool), str(folder / "photos"), "--out", str(folder / "out")),
        *("--config-file", str(CONFIG), "--weights", "", "--workers", "2", "--chunk", "3"),
        *("--opts", "INPUT.MIN_SIZE_TEST", "48", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"),
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def _parts(out: Path) -> list[Path]:
    return sorted((out / "parts").glob("part-????????.jsonl"))


def _parts_are_whole(out: Path) -> bool:
    try:
        return all(len(list(read_part(part))) == 3 for part in _parts(out))
    except ValueError:
        return False
