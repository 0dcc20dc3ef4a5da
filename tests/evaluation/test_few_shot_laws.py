"""Few-shot scores against pixels counted one by one; void around a truth changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from freeseg.evaluation.few_shot import FewShotEvaluator

CLASSES = {31: "cat", 4: "dog", 19: "cow", 8: "bus"}  # of the last there is no episode
SHAPES = ((5, 8), (9, 4), (3, 3))


def episodes(number=11):
    """(episode, answer as a mask, as labels and as scores), all random."""
    random = np.random.default_rng(7)
    rows = []
    for each in range(number):
        shape = SHAPES[each % 3]
        class_id = (31, 4, 19)[int(random.integers(3))]
        truth = random.choice([0, 1, 255], shape, p=(0.5, 0.3, 0.2)).astype(np.uint8)
        mask = torch.from_numpy(random.random(shape) < 0.4)
        scores = torch.from_numpy(random.random((2, *shape)))
        scores = torch.where(mask, scores.sort(0)[0], scores.sort(0, descending=True)[0])
        outputs = [{"mask": mask}, {"sem_seg": mask.long()}, {"sem_seg": scores}]
        episode = {"class_id": class_id, "truth": torch.from_numpy(truth)}
        rows.append((episode, outputs[each % 3], mask))
    return rows


def share(pairs) -> float:
    """IoU in percent of (is found, is true) of pixels."""
    union = sum(found or true for found, true in pairs)
    return 100 * sum(found and true for found, true in pairs) / union if union else math.nan


def by_hand(rows) -> dict[str, float]:
    pixels: dict[str, list[tuple[bool, bool]]] = {name: [] for name in CLASSES.values()}
    for episode, _, mask in rows:
        truth = episode["truth"].flatten().tolist()
        pairs = [
            (found, true == 1) for found, true in zip(mask.flatten().tolist(), truth) if true < 2
        ]
        pixels[CLASSES[episode["class_id"]]] += pairs
    ious = {name: share(pairs) for name, pairs in pixels.items()}
    known = [iou for iou in ious.values() if iou == iou]
    both = [pair for pairs in pixels.values() for pair in pairs]
    background = share([(not found, not true) for found, true in both])
    return {
        "mIoU": sum(known) / len(known),
        "FB-IoU": (background + share(both)) / 2,
        **{f"IoU-{name}": iou for name, iou in ious.items()},
    }


def evaluate(rows, at_once=1):
    evaluator = FewShotEvaluator(CLASSES)
    for place in range(0, len(rows), at_once):
        some = rows[place : place + at_once]
        evaluator.process([row[0] for row in some], [row[1] for row in some])
    return evaluator.evaluate()["few_shot"]


@pytest.mark.parametrize("at_once", [1, 4])
def test_scores_are_those_of_a_count_pixel_by_pixel(at_once):
    rows = episodes()
    found = evaluate(rows, at_once)
    assert found == pytest.approx(by_hand(rows), nan_ok=True)
    assert list(found) == ["mIoU", "FB-IoU", *(f"IoU-{name}" for name in CLASSES.values())]
    assert math.isnan(found["IoU-bus"])
    assert len({round(value, 6) for value in found.values()}) == len(found), "all differ"


def test_nothing_is_left_of_what_was_evaluated_before():
    rows, evaluator = episodes(), FewShotEvaluator(CLASSES)
    for episode, output, _ in rows[:5]:
        evaluator.process([episode], [output])
    evaluator.reset()
    for episode, output, _ in rows[5:]:
        evaluator.process([episode], [output])
    assert evaluator.evaluate()["few_shot"] == pytest.approx(by_hand(rows[5:]), nan_ok=True)


def test_void_around_the_truths_changes_nothing():
    random = torch.Generator().manual_seed(0)
    rows, around = episodes(), []
    for episode, _, mask in rows:
        height, width = mask.shape
        truth = torch.full((height + 4, width + 7), 255, dtype=torch.uint8)
        guess = torch.rand(truth.shape, generator=random) < 0.5
        truth[1:-3, 5:-2], guess[1:-3, 5:-2] = episode["truth"], mask
        around.append(({**episode, "truth": truth}, {"mask": guess}, guess))
    assert evaluate(around) == pytest.approx(evaluate(rows), nan_ok=True)


def test_truths_of_void_alone_are_worth_nothing_and_crash_nothing():
    truth = torch.full((2, 3), 255, dtype=torch.uint8)
    found = evaluate([({"class_id": 4, "truth": truth}, {"mask": torch.ones(2, 3) > 0}, None)])
    assert all(math.isnan(value) for value in found.values())


def test_a_class_of_another_fold_is_refused():
    with pytest.raises(KeyError):
        evaluate([({"class_id": 0, "truth": torch.zeros(1, 1)}, {"mask": torch.ones(1, 1)}, None)])
