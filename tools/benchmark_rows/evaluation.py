"""Panoptic quality of a folder of predictions, from PNG files to numbers."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmark_rows.contest import Contest, Row
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOPanopticEvaluator

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


def _written() -> tuple[str, str]:
    """JSON files of the truth and of predictions; panopticapi has one process from here on."""
    from panopticapi import evaluation as panopticapi

    panopticapi.multiprocessing.cpu_count = lambda: 1
    return _write("truth", 0), _write("predicted", 15)


def _their_quality(truth: str, predicted: str, folder: str | None = None):
    from panopticapi import evaluation as panopticapi

    with contextlib.redirect_stdout(io.StringIO()):
        return panopticapi.pq_compute(truth, predicted, pred_folder=folder)


def _panoptic_quality() -> Contest:
    from detectron2.evaluation._panoptic_quality import pq_compute  # of d2lite only

    truth, predicted = _written()

    def check(ours, theirs):
        for group in ("All", "Things", "Stuff"):
            for key in ("pq", "sq", "rq"):
                assert abs(ours[group][key] - theirs[group][key]) < 1e-9, (group, key)
        assert 0 < ours["All"]["pq"] < 1

    return Contest(
        lambda: pq_compute(truth, predicted), lambda: _their_quality(truth, predicted), check
    )


def _evaluator() -> Contest:
    """From maps in memory; theirs goes by PNG files, as Detectron2's evaluator does."""
    from panopticapi.utils import id2rgb

    truth, predicted = _written()
    things, stuff = (
        {i: i - 1 for i in range(1, NUM_CATEGORIES + 1) if i % 2 == flag} for flag in (1, 0)
    )
    MetadataCatalog.get("benchmark_panoptic").set(
        panoptic_json=truth,
        panoptic_root=truth.replace(".json", ""),
        thing_dataset_id_to_contiguous_id=things,
        stuff_dataset_id_to_contiguous_id=stuff,
    )
    content = json.loads(Path(predicted).read_text())
    with Image.open(predicted.replace(".json", "/0.png")) as image:
        rgb = np.asarray(image).astype(np.int32)
    ids = torch.from_numpy(rgb[..., 0] + 256 * rgb[..., 1])

    def ours():
        evaluator = COCOPanopticEvaluator("benchmark_panoptic")
        evaluator.reset()
        for annotation in content["annotations"]:
            segments = [
                {
                    "id": row["id"],
                    "category_id": row["category_id"] - 1,
                    "isthing": bool(row["category_id"] % 2),
                }
                for row in annotation["segments_info"]
            ]
            inputs = {"image_id": annotation["image_id"], "file_name": annotation["file_name"]}
            evaluator.process([inputs], [{"panoptic_seg": (ids, segments)}])
        return evaluator.evaluate()["panoptic_seg"]

    def theirs():
        with tempfile.TemporaryDirectory() as folder:
            for annotation in content["annotations"]:
                file = Path(folder) / annotation["file_name"]
                Image.fromarray(id2rgb(ids.numpy())).save(file, format="PNG")
            return _their_quality(truth, predicted, folder)

    def check(ours, theirs):
        for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st")):
            for key in ("pq", "sq", "rq"):
                assert abs(ours[key.upper() + suffix] - 100 * theirs[group][key]) < 1e-9

    return Contest(ours, theirs, check)


ROWS = (
    Row(
        "panoptic-evaluator",
        f"PQ of {NUM_IMAGES} predictions, {WIDTH}x{HEIGHT}, in memory, evaluator of d2lite",
        "PNG files and panopticapi, one process, as Detectron2's evaluator",
        10,
        _evaluator,
    ),
    Row(
        "panoptic-quality",
        f"PQ of {NUM_IMAGES} images, {WIDTH}x{HEIGHT}, in PNG files, d2lite",
        "panopticapi, one process",
        10,
        _panoptic_quality,
    ),
)
