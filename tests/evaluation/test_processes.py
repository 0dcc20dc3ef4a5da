"""Results do not depend on how photos are shared: unequally, and nothing for one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from freeseg.evaluation import build_evaluators
from freeseg.evaluation.few_shot import FewShotEvaluator
from freeseg.evaluation.instance import ThingEvaluator
from freeseg.evaluation.panoptic_evaluator import PanopticEvaluator
from freeseg.evaluation.seen_unseen import SeenUnseenPanopticEvaluator
from freeseg.evaluation.semantic import SemanticEvaluator

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import Processes

# of six photos; a process may have none, also the main one
SHARES = ((slice(0, 4), slice(4, 4), slice(4, 6)), (slice(0, 0), slice(0, 5), slice(5, 6)))


def damage(outputs) -> None:
    """Errors that differ from photo to photo."""
    scores = outputs["sem_seg"]
    column = int(scores.argmax(0).sum()) % scores.shape[-1]
    scores[:, :, :column] = scores[:, :, :column].roll(1, 0)
    outputs["instances"].pred_masks[:, :, column:] = False
    ids, segments = outputs["panoptic_seg"]
    ids[:, column:] = segments[0]["id"]
    segments[:] = [row for row in segments if (ids == row["id"]).any()]


def one_after_another(evaluator, model, records):
    evaluator.reset()
    for record in records:
        inputs = [{"file_name": record["file_name"], "image_id": record["image_id"]}]
        evaluator.process(inputs, model(inputs))
    return evaluator.evaluate()


@pytest.mark.parametrize(
    ("is_split", "shares"), [(False, SHARES[0]), (True, SHARES[1])], ids=["all", "seen and unseen"]
)
def test_every_evaluator_counts_what_all_processes_have_seen(
    cfg, shapes, ground_truth, monkeypatch, tmp_path, is_split, shares
) -> None:
    cfg.TEST.SEEN_UNSEEN, cfg.TEST.PANOPTIC_INSTANCES = is_split, True
    cfg.MODEL.SEM_SEG_HEAD.NAME, test = "OneFormerHead", cfg.MODEL.TEST
    test.SEMANTIC_ON = test.INSTANCE_ON = test.PANOPTIC_ON = test.DETECTION_ON = True
    model = ground_truth(shapes, damage)
    records = list(model.records.values())
    evaluators = build_evaluators(cfg, shapes, tmp_path / "one")
    expected = [one_after_another(one, model, records) for one in evaluators]
    panoptic = SeenUnseenPanopticEvaluator if is_split else PanopticEvaluator
    kinds = [type(getattr(one, "evaluator", one)) for one in evaluators]
    assert kinds == [SemanticEvaluator, ThingEvaluator, ThingEvaluator, panoptic]
    tasks = [list(results) for results in expected]
    assert tasks == [["sem_seg"], ["bbox", "segm"], ["segm_panoptic"], ["panoptic_seg"]]
    processes = Processes(monkeypatch, len(shares))

    def process(share):
        mine = build_evaluators(cfg, shapes, tmp_path / "three")
        return [one_after_another(one, model, records[share]) for one in mine]

    first, *others = processes.run([lambda share=share: process(share) for share in shares])
    for found, wanted in zip(first, expected):
        assert flat(found) == pytest.approx(flat(wanted), nan_ok=True)
        assert 0 < max(value for value in flat(wanted).values() if value == value) < 100.001
    assert all(not result for other in others for result in other), "the main process tells"


def flat(results):
    return {
        (task, name): value
        for task, values in results.items()
        for name, value in values.items()
        if isinstance(value, (int, float))
    }


@pytest.mark.parametrize("shares", SHARES)
def test_episodes_of_all_processes_count(monkeypatch, shares) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [(number % 2, *(torch.rand(2, 1, 9, generator=generator) > 0.4)) for number in range(6)]

    def evaluate(some):
        evaluator = FewShotEvaluator({0: "cat", 1: "dog"})
        for class_id, truth, found in some:
            episode = {"class_id": class_id, "truth": truth.to(torch.uint8)}
            evaluator.process([episode], [{"mask": found}])
        return evaluator.evaluate()

    expected = evaluate(rows)["few_shot"]
    processes = Processes(monkeypatch, len(shares))
    found = processes.run([lambda share=share: evaluate(rows[share]) for share in shares])
    assert found[0]["few_shot"] == pytest.approx(expected)
    assert 0 < expected["mIoU"] < 100
    assert not any(found[1:])
