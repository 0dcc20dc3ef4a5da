from __future__ import annotations

import math

import numpy as np
import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from freeseg.data.shapes import UNSEEN
from freeseg.evaluation import results_table
from freeseg.evaluation.seen_unseen import SeenUnseen, SeenUnseenEvaluator, harmonic_mean
from freeseg.structures import Vocabulary

CLASSES = SeenUnseen(("a", "b", "c", "d"), (True, True, False, False))


def test_means_by_hand():
    values = {"a": 80.0, "b": 60.0, "c": 20.0, "d": 10.0}
    assert CLASSES.means("mIoU", values) == {
        "mIoU_seen": 70,
        "mIoU_unseen": 15,
        "hIoU": pytest.approx(2 * 70 * 15 / 85),
    }


def test_classes_without_ground_truth_are_left_out():
    values = {"a": 80.0, "b": math.nan, "c": 20.0}
    found = CLASSES.means("AP", values)
    assert (found["AP_seen"], found["AP_unseen"], found["hAP"]) == (80, 20, 32)
    nothing = CLASSES.means("SQ", {"a": 80.0})
    assert nothing["SQ_seen"] == 80
    assert math.isnan(nothing["SQ_unseen"])


def test_harmonic_mean_of_nothing_is_nothing():
    assert harmonic_mean(0.0, 0.0) == 0
    assert harmonic_mean(50.0, 0.0) == 0
    assert math.isnan(harmonic_mean(50.0, math.nan))


class Given(DatasetEvaluator):
    def __init__(self, results) -> None:
        self.results = results

    def evaluate(self):
        return self.results


def test_results_of_other_tasks_and_processes_stay_as_they_are():
    assert SeenUnseenEvaluator(Given(None), CLASSES).evaluate() is None
    results = {"bbox": {"AP": 3.0}}
    assert SeenUnseenEvaluator(Given(results), CLASSES).evaluate() == {"bbox": {"AP": 3.0}}
    semantic = {"sem_seg": {"mIoU": 1.0, **{f"IoU-{name}": 40.0 for name in "abcd"}}}
    found = SeenUnseenEvaluator(Given(semantic), CLASSES).evaluate()
    assert found["sem_seg"]["hIoU"] == 40


def test_metadata_decides(shapes):
    classes = SeenUnseen.of(Vocabulary.of_dataset(MetadataCatalog.get(shapes)))
    assert {name for name, flag in zip(classes.names, classes.is_seen) if not flag} == set(UNSEEN)
    assert SeenUnseen.of(Vocabulary(("a",), (True,), is_seen=(True,))) is None
    assert SeenUnseen.of(Vocabulary(("a",), (True,))) is None


def forget_unseen(outputs) -> None:
    """A model that has no idea of unseen classes: it takes them for the class before."""
    names = MetadataCatalog.get("evaluated_shapes").stuff_classes
    unseen = {names.index(name) for name in UNSEEN}
    for segment in outputs["panoptic_seg"][1]:
        segment["category_id"] -= segment["category_id"] in unseen
    labels = outputs["instances"].pred_classes
    for label in unseen:
        labels[labels == label] = label - 1
        outputs["sem_seg"][label - 1] += outputs["sem_seg"][label]
        outputs["sem_seg"][label] = 0


def test_unseen_classes_that_are_not_known_are_worth_nothing(evaluate, shapes):
    perfect, results = evaluate(shapes), evaluate(shapes, forget_unseen)
    for task, metric, harmonic in (
        ("sem_seg", "mIoU", "hIoU"),
        ("segm", "AP", "hAP"),
        ("panoptic_seg", "PQ", "hPQ"),
    ):
        assert perfect[task][f"{metric}_seen"] == pytest.approx(100)
        assert perfect[task][f"{metric}_unseen"] == pytest.approx(100)
        assert perfect[task][harmonic] == pytest.approx(100)
        assert results[task][f"{metric}_unseen"] == pytest.approx(0)
        assert results[task][harmonic] == pytest.approx(0)
        assert 0 < results[task][f"{metric}_seen"] < 100, "others are mistaken for seen classes"


def test_means_of_both_parts_make_the_mean_of_all(evaluate, shapes):
    """Detectron2's own averages are the oracle for the counts by class."""
    results = evaluate(shapes, forget_unseen)["panoptic_seg"]
    truth = {
        row["category_id"]
        for record in DatasetCatalog.get(shapes)
        for row in record["segments_info"]
    }
    names = MetadataCatalog.get(shapes).stuff_classes
    unseen = {names.index(name) for name in UNSEEN}
    predicted = {label - (label in unseen) for label in truth}
    present = truth | predicted
    shares = np.array([len(present - unseen), len(present & unseen)]) / len(present)
    for metric in ("PQ", "SQ", "RQ"):
        parts = [results[f"{metric}_seen"], results[f"{metric}_unseen"]]
        assert np.dot(shares, parts) == pytest.approx(results[metric])


def test_the_table_shows_both_parts():
    values = {"mIoU": 60.0, "mIoU_seen": 70.0, "mIoU_unseen": 50.0, "hIoU": 58.333}
    results = {"sem_seg": values, "segm": {"AP": 10.0}}
    first, second = results_table(results).split("\n\n")
    assert "seen" not in first
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in second.splitlines()]
    assert rows[0] == ["task", "metric", "seen", "unseen", "harmonic"]
    assert rows[2:] == [["semantic", "mIoU", "70.00", "50.00", "58.33"]]
