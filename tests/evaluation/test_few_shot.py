"""Few-shot scores, counted by hand."""

from __future__ import annotations

import math

import pytest
import torch

from freeseg.evaluation.few_shot import FewShotEvaluator


def episode(class_id, truth):
    return {"class_id": class_id, "truth": torch.tensor([truth], dtype=torch.uint8)}


def answer(*found):
    return {"mask": torch.tensor([found]).bool()}


def evaluate(classes, rows):
    evaluator = FewShotEvaluator(classes)
    for class_id, truth, found in rows:
        evaluator.process([episode(class_id, truth)], [answer(*found)])
    return evaluator.evaluate()["few_shot"]


def test_by_hand():
    results = evaluate(
        {3: "cat", 7: "dog"},
        [
            # cat: foreground 1 of 2, background 2 of 3; the fifth pixel is not judged
            (3, [1, 0, 0, 1, 255], [1, 0, 0, 0, 1]),
            # cat again: foreground 1 of 2, background 2 of 3
            (3, [1, 0, 0, 0], [1, 1, 0, 0]),
            # dog: foreground 2 of 3, background 0 of 1
            (7, [1, 1, 0], [1, 1, 1]),
        ],
    )
    assert results["IoU-cat"] == pytest.approx(100 * 2 / 4)
    assert results["IoU-dog"] == pytest.approx(100 * 2 / 3)
    assert results["mIoU"] == pytest.approx(100 * (2 / 4 + 2 / 3) / 2)
    assert results["FB-IoU"] == pytest.approx(100 * ((2 + 2) / (2 + 2 + 3) + 4 / 7) / 2)


def test_pixels_of_a_class_are_counted_together_not_images():
    rows = [(0, [1] * 9 + [0], [1] * 9 + [0]), (0, [1, 0], [0, 0])]
    assert evaluate({0: "cat"}, rows)["mIoU"] == pytest.approx(90.0)


def test_a_class_without_episodes_is_left_out(caplog):
    results = evaluate({0: "cat", 1: "dog"}, [(0, [1, 0], [1, 0])])
    assert results["mIoU"] == results["FB-IoU"] == 100.0
    assert math.isnan(results["IoU-dog"])
    assert "1 of 2 classes have no episode" in caplog.text


def test_scores_labels_and_masks_say_the_same():
    truth = [1, 0, 1]
    scores = torch.tensor([[[0.2, 0.9, 0.1]], [[0.8, 0.1, 0.9]]])
    values = []
    for output in ({"sem_seg": scores}, {"sem_seg": scores.argmax(0)}, answer(1, 0, 1)):
        evaluator = FewShotEvaluator({0: "cat"})
        evaluator.process([episode(0, truth)], [output])
        values.append(evaluator.evaluate())
    assert (
        values[0]
        == values[1]
        == values[2]
        == {"few_shot": {"mIoU": 100.0, "FB-IoU": 100.0, "IoU-cat": 100.0}}
    )


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="the mask is"):
        FewShotEvaluator({0: "cat"}).process([episode(0, [1, 0])], [answer(1, 0, 1)])
