"""Panoptic quality of a folder of predictions, from PNG files to numbers."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark_rows.contest import Contest, Row

NUM_IMAGES, HEIGHT, WIDTH, NUM_CATEGORIES = 200, 480, 640, 20
CELL = 80  # pixels of a segment's side
FOLDER = tempfile.TemporaryDirectory()


def _write(name: str, shift: int) -> str:
    """Pictures of square segments, moved by `shift` pixels; returns the JSON's path."""
    random = np.random.default_rng(0)
    root = Path(FOLDER.name)
    (root / name).mkdir(exist_ok=True)
    annotations = []
    columns = -(-WIDTH // CELL)
    ids = 1 + np.arange(-(-HEIGHT // CELL) * columns).reshape(-1, columns)
    picture = np.roll(ids.repeat(CELL, 0).repeat(CELL, 1)[:HEIGHT, :WIDTH], shift, axis=1)
    rgb = np.stack([picture % 256, picture // 256, 0 * picture], -1).astype(np.uint8)
    for index in range(NUM_IMAGES):
        categories = random.integers(1, NUM_CATEGORIES + 1, ids.size).tolist()
        segments = [
            {"id": i, "category_id": category, "area": int((picture == i).sum()), "iscrowd": 0}
            for i, category in enumerate(categories, start=1)
        ]
        Image.fromarray(rgb).save(root / name / f"{index}.png")
        annotations.append(
            {"image_id": index, "file_name": f"{index}.png", "segments_info": segments}
        )
    content = {
        "images": [{"id": index} for index in range(NUM_IMAGES)],
        "annotations": annotations,
        "categories": [{"id": i, "isthing": i % 2} for i in range(1, NUM_CATEGORIES + 1)],
    }
    (root / f"{name}.json").write_text(json.dumps(content))
    return str(root / f"{name}.json")


def _panoptic_quality() -> Contest:
    from panopticapi import evaluation as panopticapi

    from detectron2.evaluation._panoptic_quality import pq_compute  # of d2lite only

    truth, predicted = _write("truth", 0), _write("predicted", 15)
    panopticapi.multiprocessing.cpu_count = lambda: 1

    def theirs():
        with contextlib.redirect_stdout(io.StringIO()):
            return panopticapi.pq_compute(truth, predicted)

    def check(ours, theirs):
        for group in ("All", "Things", "Stuff"):
            for key in ("pq", "sq", "rq"):
                assert abs(ours[group][key] - theirs[group][key]) < 1e-9, (group, key)
        assert 0 < ours["All"]["pq"] < 1

    return Contest(lambda: pq_compute(truth, predicted), theirs, check)


ROWS = (
    Row(
        "panoptic-quality",
        f"PQ of {NUM_IMAGES} images, {WIDTH}x{HEIGHT}, d2lite",
        "panopticapi, one process",
        10,
        _panoptic_quality,
    ),
)
