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
from freeseg.evaluation.coco_panoptic import panoptic_quality

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


def _reader(folder: Path):
    return lambda annotation: (folder / annotation["file_name"]).read_bytes()


def _panoptic_quality() -> Contest:
    from panopticapi import evaluation as panopticapi

    paths = _write("truth", 0), _write("predicted", 15)
    folders = [Path(path).with_suffix("") for path in paths]

    def read() -> list[dict]:
        return [json.loads(Path(path).read_text()) for path in paths]

    def ours():
        truth, predicted = read()
        readers = [_reader(folder) for folder in folders]
        return panoptic_quality(
            truth, predicted["annotations"], read_true=readers[0], read_found=readers[1]
        )

    def theirs():  # what panopticapi's pq_compute does, without another process
        truth, predicted = read()
        pairs = list(zip(truth["annotations"], predicted["annotations"]))
        categories = {category["id"]: category for category in truth["categories"]}
        with contextlib.redirect_stdout(io.StringIO()):
            stat = panopticapi.pq_compute_single_core(0, pairs, *folders, categories)
        groups = {"All": None, "Things": True, "Stuff": False}
        return {name: stat.pq_average(categories, which)[0] for name, which in groups.items()}

    def check(ours, theirs):
        for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st")):
            for key in ("pq", "sq", "rq"):
                difference = ours[key.upper() + suffix] - 100 * theirs[group][key]
                assert abs(difference) < 1e-7, (group, key)
        assert 0 < ours["PQ"] < 100

    return Contest(ours, theirs, check)


ROWS = (
    Row(
        "panoptic-quality",
        f"PQ of {NUM_IMAGES} images, {WIDTH}x{HEIGHT}",
        "panopticapi, one process",
        10,
        _panoptic_quality,
    ),
)
