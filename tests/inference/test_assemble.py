from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from freeseg.inference import Thresholds, assemble, mask_boxes
from freeseg.structures import Vocabulary

VOCABULARY = Vocabulary(("car", "person", "sky", "road"), (True, True, False, False))
LOOSE = Thresholds(min_score=0.0, min_visible_share=0.0, max_instances=100)


def logits_of(labels: list[int], confidence: float = 12.0) -> torch.Tensor:
    """Class logits [Q, K+1] of confident queries; label 4 is "no object"."""
    logits = torch.zeros(len(labels), len(VOCABULARY) + 1)
    logits[torch.arange(len(labels)), torch.tensor(labels)] = confidence
    return logits


def box_mask(top: int, bottom: int, left: int, right: int, size=(8, 10), logit=9.0):
    mask = torch.full(size, -logit)
    mask[top:bottom, left:right] = logit
    return mask


def random_prediction(seed: int, queries: int = 12, size=(9, 11)):
    generator = torch.Generator().manual_seed(seed)
    class_logits = torch.randn(queries, len(VOCABULARY) + 1, generator=generator) * 2
    coarse = torch.randn(1, queries, 3, 4, generator=generator) * 4
    masks = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")[0]
    return class_logits, masks


def slow_panoptic(class_logits, mask_logits, thresholds):
    """MaskFormer's rule, query after query and pixel after pixel."""
    probs, masks = class_logits.softmax(-1), mask_logits.sigmoid()
    kept = [
        (q, int(probs[q].argmax()), float(probs[q].max()))
        for q in range(len(probs))
        if probs[q].argmax() < len(VOCABULARY) and probs[q].max() > thresholds.min_score
    ]
    height, width = masks.shape[1:]
    winner = {}
    for row in range(height):
        for column in range(width):
            if kept:
                best = max(kept, key=lambda k: k[2] * float(masks[k[0], row, column]))
                winner[row, column] = best[0]
    ids = torch.zeros(height, width, dtype=torch.int32)
    segments, stuff = [], {}
    for q, label, _ in kept:
        won = [pixel for pixel, owner in winner.items() if owner == q]
        shown = [pixel for pixel in won if masks[q][pixel] >= 0.5]
        original = int((masks[q] >= 0.5).sum())
        if not shown or len(won) / original < thresholds.min_visible_share:
            continue
        if label in stuff:
            number = stuff[label]
            segments[number - 1][1] += len(shown)
        else:
            number = len(segments) + 1
            segments.append([label, len(shown)])
            if not VOCABULARY.is_thing[label]:
                stuff[label] = number
        for pixel in shown:
            ids[pixel] = number
    return ids, segments


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("thresholds", [LOOSE, Thresholds(0.4, 0.8, 5)], ids=["loose", "published"])
def test_panoptic_equals_the_slow_rule(seed, thresholds):
    class_logits, mask_logits = random_prediction(seed)
    expected_ids, expected = slow_panoptic(class_logits, mask_logits, thresholds)
    result = assemble(["panoptic"], class_logits, mask_logits, VOCABULARY, thresholds).panoptic
    assert torch.equal(result.segment_ids, expected_ids)
    assert [[s.category_id, s.area] for s in result.segments] == expected
    assert [s.id for s in result.segments] == list(range(1, len(expected) + 1))


def test_panoptic_merges_stuff_but_not_things():
    masks = torch.stack([box_mask(0, 4, 0, 5), box_mask(0, 4, 5, 10), box_mask(4, 8, 0, 10)])
    things = assemble(["panoptic"], logits_of([0, 0, 2]), masks, VOCABULARY, LOOSE).panoptic
    stuff = assemble(["panoptic"], logits_of([2, 2, 3]), masks, VOCABULARY, LOOSE).panoptic
    assert [(s.category_id, s.area) for s in things.segments] == [(0, 20), (0, 20), (2, 40)]
    assert [(s.category_id, s.area) for s in stuff.segments] == [(2, 40), (3, 40)]


def test_panoptic_numbers_more_than_255_segments():
    size = (20, 20)
    masks = torch.stack([box_mask(r, r + 1, c, c + 1, size) for r in range(20) for c in range(20)])
    result = assemble(["panoptic"], logits_of([0] * 400), masks, VOCABULARY, LOOSE).panoptic
    assert len(result.segments) == 400
    assert result.segment_ids.flatten().tolist() == list(range(1, 401))


def test_nothing_confident_gives_empty_results():
    masks = torch.full((3, 6, 6), -5.0)
    result = assemble(
        ["panoptic", "instance", "semantic"], logits_of([4, 4, 4]), masks, VOCABULARY, LOOSE
    )
    assert result.panoptic.segments == ()
    assert result.panoptic.segment_ids.sum() == 0
    assert result.semantic.values.shape == (4, 6, 6)
    assert not result.instances.masks.any()
    assert result.instances.boxes.abs().sum() == 0


def test_semantic_is_the_mask_weighted_sum_of_class_probabilities():
    class_logits, mask_logits = random_prediction(0)
    result = assemble(["semantic"], class_logits, mask_logits, VOCABULARY, LOOSE).semantic.values
    probs, masks = class_logits.softmax(-1), mask_logits.sigmoid()
    expected = sum(probs[q, 1] * masks[q, 2, 3] for q in range(len(probs)))
    assert result[1, 2, 3].item() == pytest.approx(float(expected), rel=1e-5)


def test_instances_score_class_times_mean_probability_inside():
    masks = torch.stack([box_mask(1, 3, 2, 6, logit=1.0), box_mask(4, 8, 0, 10, logit=8.0)])
    found = assemble(["instance"], logits_of([1, 0], 50), masks, VOCABULARY, LOOSE).instances
    sure = torch.tensor([8.0, 1.0]).sigmoid()
    assert found.labels[:2].tolist() == [0, 1]
    torch.testing.assert_close(found.scores[:2], sure, atol=1e-5, rtol=0)
    assert found.boxes[:2].tolist() == [[0, 4, 10, 8], [2, 1, 6, 3]]


def test_instances_are_things_only_and_best_first():
    class_logits, mask_logits = random_prediction(3, queries=20)
    found = assemble(["instance"], class_logits, mask_logits, VOCABULARY, LOOSE).instances
    assert set(found.labels.tolist()) == {0, 1}
    assert (found.scores.diff() <= 0).all()
    few = assemble(
        ["instance"], class_logits, mask_logits, VOCABULARY, Thresholds(0, 0, 7)
    ).instances
    assert 0 < len(few.scores) <= 7


def test_permuting_queries_changes_no_semantic_and_no_instance():
    class_logits, mask_logits = random_prediction(5)
    order = torch.randperm(len(class_logits), generator=torch.Generator().manual_seed(1))
    tasks = ["semantic", "instance"]
    one = assemble(tasks, class_logits, mask_logits, VOCABULARY, LOOSE)
    two = assemble(tasks, class_logits[order], mask_logits[order], VOCABULARY, LOOSE)
    torch.testing.assert_close(one.semantic.values, two.semantic.values)
    torch.testing.assert_close(one.instances.scores, two.instances.scores)
    assert torch.equal(one.instances.masks, two.instances.masks)


def test_only_what_is_asked_for_is_there():
    class_logits, mask_logits = random_prediction(0)
    result = assemble(("instance",), class_logits, mask_logits, VOCABULARY, LOOSE)
    assert result.semantic is None
    assert result.panoptic is None
    assert result.instances is not None


@pytest.mark.parametrize("tasks", ["panoptic", (), ("depth",), ("semantic", "depth")])
def test_unknown_tasks_are_refused(tasks):
    class_logits, mask_logits = random_prediction(0)
    with pytest.raises(ValueError, match="selection of the tasks"):
        assemble(tasks, class_logits, mask_logits, VOCABULARY, LOOSE)


def test_mask_boxes_are_tight_and_half_open():
    masks = torch.zeros(3, 6, 7, dtype=torch.bool)
    masks[0, 2:4, 1:6] = True
    masks[1, 5, 6] = True
    assert mask_boxes(masks).tolist() == [[1, 2, 6, 4], [6, 5, 7, 6], [0, 0, 0, 0]]


def test_panoptic_segments_of_too_few_pixels_are_left_out():
    masks = torch.stack([box_mask(0, 4, 0, 5), box_mask(0, 1, 5, 8), box_mask(4, 8, 0, 10)])
    logits = logits_of([0, 0, 2])
    for min_area, areas in ((0, [20, 3, 40]), (3, [20, 3, 40]), (4, [20, 40]), (41, [])):
        thresholds = replace(LOOSE, min_area=min_area)
        found = assemble(["panoptic"], logits, masks, VOCABULARY, thresholds).panoptic
        assert [segment.area for segment in found.segments] == areas
        counted = [int((found.segment_ids == one.id).sum()) for one in found.segments]
        assert counted == areas
        assert int((found.segment_ids > 0).sum()) == sum(areas)
