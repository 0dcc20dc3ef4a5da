"""FreeSeg's post-processing against its rules written out pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from freeseg.inference import Resizing, Thresholds, assemble_by_class_map
from freeseg.structures import JUDGED_TASKS, Vocabulary

VOCABULARY = Vocabulary(("cat", "dog", "sky", "sea"), (True, True, False, False))
THRESHOLDS = Thresholds(min_score=0.5, min_visible_share=0.5, max_instances=100)


def assemble(task, classes, masks, thresholds=THRESHOLDS, vocabulary=VOCABULARY, tile=0):
    """The result of masks [Q, H, W] of probabilities, which are not resized."""
    size = tuple(masks.shape[1:])
    resizing = Resizing.of(size, size, size, size)
    logits = masks.logit(eps=1e-6)
    return assemble_by_class_map(task, classes, logits, resizing, vocabulary, thresholds, tile)


def random_proposals(seed: int, num_queries: int = 12):
    generator = torch.Generator().manual_seed(seed)
    classes = torch.rand(num_queries, 4, generator=generator) ** 2
    coarse = torch.randn(1, num_queries, 4, 5, generator=generator) * 4
    masks = F.interpolate(coarse, (16, 20), mode="bilinear")[0].sigmoid()
    return classes, masks


def painted(classes, masks, thresholds):
    """Segment map and segments by a plain reading of the rules."""
    scores = torch.einsum("qk,qhw->khw", classes, masks)
    winner = scores.argmax(0)
    sharp = (classes / 0.01).softmax(-1)
    segment_ids = torch.zeros(masks.shape[1:], dtype=torch.int64)
    segments, number_of_stuff = [], {}
    for query in range(len(classes)):
        label = int(sharp[query].argmax())
        is_thing = VOCABULARY.is_thing[label]
        inside = masks[query] >= 0.5
        own = inside & (winner == label)
        if not own.any() or own.sum() / inside.sum() < thresholds.min_visible_share:
            continue
        if is_thing and sharp[query, label] < thresholds.min_score:
            continue
        if is_thing and classes[query, label] < thresholds.min_probability:
            continue
        if not is_thing and label in number_of_stuff:
            segment_ids[own] = number_of_stuff[label]
            continue
        segments.append((len(segments) + 1, label, is_thing))
        segment_ids[own] = len(segments)
        if not is_thing:
            number_of_stuff[label] = len(segments)
    for one in segments:
        if (segment_ids == one[0]).sum() < thresholds.min_area:
            segment_ids[segment_ids == one[0]] = 0
    return segment_ids, [one for one in segments if (segment_ids == one[0]).any()]


@pytest.mark.parametrize(("min_probability", "min_area"), [(0.0, 0), (0.6, 0), (0.0, 40)])
@pytest.mark.parametrize("tile", [0, 7])
@pytest.mark.parametrize("seed", range(6))
def test_panoptic_map_follows_the_rules(seed, tile, min_probability, min_area):
    classes, masks = random_proposals(seed)
    thresholds = replace(THRESHOLDS, min_probability=min_probability, min_area=min_area)
    found = assemble("panoptic", classes, masks, thresholds, tile=tile).panoptic
    expected, segments = painted(classes, masks, thresholds)
    assert torch.equal(found.segment_ids.long(), expected)
    assert [(one.id, one.category_id, one.isthing) for one in found.segments] == segments
    assert [one.area for one in found.segments] == [
        int((expected == number).sum()) for number, *_ in segments
    ]


def test_more_than_255_segments_have_their_own_numbers():
    masks = torch.eye(400).reshape(400, 20, 20)
    classes = torch.tensor([[1.0, 0, 0, 0]]).expand(400, -1)
    found = assemble("panoptic", classes, masks).panoptic
    assert len(found.segments) == 400
    assert found.segment_ids.unique().tolist() == list(range(1, 401))


def test_semantic_scores_are_the_votes():
    classes, masks = random_proposals(0)
    found = assemble("semantic", classes, masks)
    votes = (classes[:, :, None, None] * masks[:, None]).sum(0)
    torch.testing.assert_close(found.semantic.values, votes)
    assert found.panoptic is found.instances is None


def boxes(*corners, size=(10, 10)):
    masks = torch.zeros(len(corners), *size)
    for mask, (top, left, bottom, right, value) in zip(masks, corners):
        mask[top:bottom, left:right] = value
    return masks


def instances(labels, masks, thresholds=THRESHOLDS, tile=0):
    classes = torch.eye(4)[torch.tensor(labels)]
    return assemble("instance", classes, masks, thresholds, tile=tile).instances


@pytest.mark.parametrize("tile", [0, 3])
def test_instances_are_things_scored_by_their_masks(tile):
    masks = boxes((0, 0, 5, 5, 0.6), (5, 5, 9, 9, 0.9), (0, 6, 4, 10, 1.0))
    found = instances([0, 1, 2], masks, tile=tile)
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    assert found.boxes.tolist() == [[5, 5, 9, 9], [0, 0, 5, 5]]
    assert torch.equal(found.masks, masks[[1, 0]] >= 0.5)


def test_an_instance_that_better_ones_of_its_class_cover_is_dropped():
    whole, part = (0, 0, 8, 8, 0.9), (0, 0, 8, 7, 0.7)
    assert instances([0, 0], boxes(whole, part)).scores.tolist() == pytest.approx([0.9])
    assert len(instances([0, 0], boxes(whole, whole)).scores) == 1  # one of two equals stays
    half = (0, 4, 8, 10, 0.7)
    assert len(instances([0, 0], boxes(whole, half)).scores) == 2


def test_the_last_class_is_a_class():
    """The release cuts it off in instance inference."""
    things = Vocabulary(("sky", "cat"), (False, True))
    masks = boxes((0, 0, 5, 5, 0.9))
    found = assemble("instance", torch.tensor([[0.0, 1.0]]), masks, vocabulary=things).instances
    assert found.labels.tolist() == [1]


def test_limits_are_kept():
    masks = boxes((0, 0, 4, 4, 0.9), (5, 5, 9, 9, 0.8), (0, 5, 4, 9, 0.7))
    few = Thresholds(min_score=0.5, min_visible_share=0.5, max_instances=2)
    assert instances([0, 0, 1], masks, few).scores.tolist() == pytest.approx([0.9, 0.8])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_masks_are_enlarged_before_they_vote(task, align_corners):
    generator = torch.Generator().manual_seed(2)
    classes = torch.rand(12, 4, generator=generator) ** 2
    coarse = torch.randn(12, 4, 5, generator=generator) * 4
    sizes = (16, 20), (15, 18)
    resizing = Resizing.of((4, 5), *sizes, sizes[1], align_corners=align_corners)
    few = replace(THRESHOLDS, min_visible_share=0.1)
    result = assemble_by_class_map(task, classes, coarse, resizing, VOCABULARY, few, tile=7)
    large = F.interpolate(coarse[None], sizes[0], mode="bilinear", align_corners=align_corners)[0]
    wanted = assemble(task, classes, large[:, :15, :18].sigmoid(), few)
    if task == "semantic":
        torch.testing.assert_close(result.semantic.values, wanted.semantic.values)
    elif task == "instance":
        assert len(wanted.instances.scores) > 1
        assert torch.equal(result.instances.masks, wanted.instances.masks)
        assert torch.equal(result.instances.labels, wanted.instances.labels)
        torch.testing.assert_close(result.instances.scores, wanted.instances.scores)
    else:
        assert len(wanted.panoptic.segments) > 1
        assert torch.equal(result.panoptic.segment_ids, wanted.panoptic.segment_ids)


@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_no_proposals_give_empty_results(task):
    classes, masks = torch.zeros(0, 4), torch.zeros(0, 6, 7)
    result = assemble(task, classes, masks)
    if task == "semantic":
        assert result.semantic.values.abs().sum() == 0
    elif task == "instance":
        assert result.instances.masks.shape == (0, 6, 7)
    else:
        assert result.panoptic.segments == ()
