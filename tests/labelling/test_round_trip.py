"""Label with a grounder, train on the labels, evaluate on the truth."""

from __future__ import annotations

import json

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.cli import main
from freeseg.data.datasets.shapes import register_split
from freeseg.data.shapes import ShapesSplit
from freeseg.resources import resource

LABELLED, TRUTH = "to_label_panoptic", "true_panoptic"
SETTINGS = (  # a minute of one core: the trunk begins as the grounder's, the classes anew
    *("MODEL.WEIGHTS", "toy", "MODEL.ALLOW_MISFIT", "True", "DATALOADER.NUM_WORKERS", "0"),
    *("SOLVER.MAX_ITER", "70", "SOLVER.WARMUP_ITERS", "10", "SOLVER.IMS_PER_BATCH", "4"),
    *("DATASETS.TRAIN", "('labelled',)", "DATASETS.TEST", f"('{TRUTH}',)"),
)


@pytest.fixture
def shapes(tmp_path):
    """Two small splits; of the first only the photos are used."""
    folders = {}
    for name, seed in ((LABELLED, 31), (TRUTH, 32)):
        folders[name] = tmp_path / name
        register_split(name, folders[name], ShapesSplit(name, 48, seed=seed))
        DatasetCatalog.get(name)
    yield folders
    for name in folders:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_a_mask2former_learns_from_labels(shapes, tmp_path):
    photos, labels, out = shapes[LABELLED] / "images", tmp_path / "labels", tmp_path / "trained"
    words = ["--model", "toy", "--panoptic", "--workers", "0"]
    assert main(["label", str(photos), *words, "--out", str(labels)]) == 0
    file = labels / "annotations_panoptic.json"
    row = ["labelled", str(file), str(photos), str(file.with_suffix(""))]
    config = resource("configs/shapes/mask2former_tiny.yaml")
    given = [*SETTINGS, "DATASETS.CUSTOM", str([row]), "OUTPUT_DIR", str(out)]
    assert main(["train", "--config-file", str(config), *given]) == 0
    results = json.loads((out / "results.json").read_text())[TRUTH]
    assert results["segm"]["AP"] > 15  # 48 with 120 iterations on 64 photos
    assert results["panoptic_seg"]["PQ"] > 20
