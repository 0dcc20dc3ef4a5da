"""Every threshold at exactly its limit and one step beside it, however results are assembled."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from freeseg.inference import (
    Resizing,
    Thresholds,
    assemble,
    assemble_by_class_map,
    assemble_in_tiles,
)
from freeseg.inference.assemble import best_pairs, ranked_instances
from freeseg.structures import JUDGED_TASKS, Vocabulary

VOCABULARY = Vocabulary(("cat", "dog", "sky", "sea"), (True, True, False, False))
CAT, DOG, SKY, SEA, NOTHING = range(5)
LOOSE = Thresholds(min_score=0.0, min_visible_share=0.0, max_instances=100)
SIZE = (6, 8)
ABOVE = 1e-4


def whole(tasks, probs, masks, thresholds):
    return assemble(tasks, probs.log(), masks.logit(eps=1e-6), VOCABULARY, thresholds)


def tiled(tile):
    def assembled(tasks, probs, masks, thresholds):
        resizing = Resizing.of(SIZE, SIZE, SIZE, SIZE)
        logits = masks.logit(eps=1e-6)
        return assemble_in_tiles(tasks, probs.log(), logits, resizing, VOCABULARY, thresholds, tile)

    return assembled


def by_class_map(tile):
    def assembled(tasks, probs, masks, thresholds):
        resizing = Resizing.of(SIZE, SIZE, SIZE, SIZE)
        logits = masks.logit(eps=1e-6)
        (task,) = tasks
        return assemble_by_class_map(
            task, probs[:, :-1], logits, resizing, VOCABULARY, thresholds, tile
        )

    return assembled


WAYS = {"whole": whole, "tiles of 1": tiled(1), "tiles of 3": tiled(3), "a tile": tiled(0)}
MAP_WAYS = {"map": by_class_map(0), "map in tiles of 3": by_class_map(3)}


def ways(*kinds):
    named = {name: way for kind in kinds for name, way in kind.items()}
    return pytest.mark.parametrize("way", named.values(), ids=named.keys())


def probs_of(*rows):
    """Class probabilities [Q, K+1] of {label: probability}."""
    probs = torch.zeros(len(rows), NOTHING + 1)
    for row, values in zip(probs, rows):
        for label, value in values.items():
            row[label] = value
    return probs


def masks_of(*boxes):
    """Masks [Q, H, W] of (top, left, bottom, right, probability), nothing elsewhere."""
    masks = torch.zeros(len(boxes), *SIZE)
    for mask, (top, left, bottom, right, value) in zip(masks, boxes):
        mask[top:bottom, left:right] = value
    return masks


def segments(result):
    return [(one.category_id, one.area) for one in result.panoptic.segments]


@ways(WAYS)
def test_a_score_must_be_above_its_limit(way):
    probs = probs_of({CAT: 0.5, NOTHING: 0.5}, {SKY: 0.25, CAT: 0.75})
    masks = masks_of((0, 0, 3, 8, 0.9), (3, 0, 6, 8, 0.9))
    for min_score, shown in (
        (0.5 - ABOVE, [(CAT, 24)] * 2),
        (0.5, [(CAT, 24)]),
        (0.75 + ABOVE, []),
    ):
        thresholds = replace(LOOSE, min_score=min_score)
        assert segments(way(["panoptic"], probs, masks, thresholds)) == shown


@ways(WAYS)
def test_no_object_is_no_segment(way):
    probs = probs_of({CAT: 0.4, NOTHING: 0.6}, {SEA: 1.0})
    masks = masks_of((0, 0, 3, 8, 0.9), (3, 0, 6, 8, 0.9))
    assert segments(way(["panoptic"], probs, masks, LOOSE)) == [(SEA, 24)]


@ways(WAYS, MAP_WAYS)
def test_a_pixel_of_probability_one_half_is_inside_a_segment(way):
    probs = probs_of({SEA: 1.0})
    for value, shown in ((0.5, [(SEA, 12)]), (0.5 - ABOVE, [])):
        masks = masks_of((1, 2, 4, 6, value))
        assert segments(way(["panoptic"], probs, masks, LOOSE)) == shown


@ways(WAYS, MAP_WAYS)
def test_a_segment_keeps_its_class_and_every_pixel_its_own(way):
    """Boxes with four different sides, things and stuff, out of order."""
    boxes = (4, 1, 6, 8, 0.9), (0, 0, 3, 5, 0.8), (1, 6, 4, 8, 0.7), (5, 0, 6, 1, 0.6)
    probs = probs_of({SEA: 1.0}, {DOG: 1.0}, {CAT: 1.0}, {SEA: 1.0})
    found = way(["panoptic"], probs, masks_of(*boxes), LOOSE).panoptic
    assert [(one.id, one.category_id, one.isthing, one.area) for one in found.segments] == [
        (1, SEA, False, 15),
        (2, DOG, True, 15),
        (3, CAT, True, 6),
    ]
    expected = torch.zeros(SIZE, dtype=torch.int32)
    for (top, left, bottom, right, _), number in zip(boxes, (1, 2, 3, 1)):
        expected[top:bottom, left:right] = number
    assert found.segment_ids.dtype == torch.int32
    assert torch.equal(found.segment_ids, expected)
    assert {type(one.area) for one in found.segments} == {int}


@ways(WAYS)
def test_exactly_the_least_visible_share_is_shown(way):
    """Of a mask of 16 pixels another leaves 8; a third one has what is around."""
    probs = probs_of({CAT: 1.0}, {DOG: 1.0}, {SKY: 1.0})
    masks = masks_of((1, 2, 5, 6, 0.9), (1, 2, 3, 6, 0.95), (0, 0, 6, 8, 0.6))
    assert shown_at_and_above_one_half(way, probs, masks) == ([CAT, DOG, SKY], [DOG, SKY])


def shown_at_and_above_one_half(way, probs, masks):
    """Labels of what is shown where half of a mask has to be seen, and a little more."""
    thresholds = [replace(LOOSE, min_visible_share=share) for share in (0.5, 0.5 + ABOVE)]
    found = (way(["panoptic"], probs, masks, each) for each in thresholds)
    return tuple([label for label, _ in segments(each)] for each in found)


@ways(WAYS)
def test_pixels_of_probability_one_half_are_of_the_mask_that_others_cover(way):
    probs = probs_of({CAT: 1.0}, {DOG: 1.0}, {SKY: 1.0})
    masks = masks_of((1, 2, 5, 6, 0.5), (1, 2, 3, 6, 0.95), (0, 0, 6, 8, 0.4))
    assert shown_at_and_above_one_half(way, probs, masks) == ([CAT, DOG], [DOG])


@ways(MAP_WAYS)
def test_exactly_the_least_share_of_the_class_map_is_shown(way):
    """The cat wins half of its mask, where the dog is but less sure."""
    probs = probs_of({CAT: 0.5}, {DOG: 1.0}, {SKY: 0.1})
    masks = masks_of((1, 2, 5, 6, 1.0), (1, 2, 3, 6, 1.0), (0, 0, 6, 8, 0.6))
    for share, labels in ((0.5, [CAT, DOG, SKY]), (0.5 + ABOVE, [DOG, SKY])):
        thresholds = replace(LOOSE, min_visible_share=share)
        assert [
            label for label, _ in segments(way(["panoptic"], probs, masks, thresholds))
        ] == labels
        found = way(["instance"], probs, masks, thresholds).instances
        assert found.labels.tolist() == [label for label in (DOG, CAT) if label in labels]


@ways(WAYS, MAP_WAYS)
@pytest.mark.parametrize("scores", list(itertools.permutations([0.3, 0.9, 0.6])))
def test_stuff_has_the_best_score_of_its_masks_in_any_order(way, scores):
    probs = probs_of(*({SEA: score, CAT: 0.1 if score < 0.9 else 0} for score in scores))
    masks = masks_of((0, 0, 2, 8, 0.9), (2, 0, 4, 5, 0.9), (4, 1, 6, 8, 0.9))
    (segment,) = way(
        ["panoptic"], probs / probs.sum(1, keepdim=True), masks, LOOSE
    ).panoptic.segments
    normed = [score / (score + 0.1) if score < 0.9 else 1.0 for score in scores]
    assert segment.score == pytest.approx(max(normed), abs=1e-5)
    assert (segment.category_id, segment.isthing, segment.area) == (SEA, False, 16 + 10 + 14)


@ways(WAYS)
def test_instances_are_where_a_mask_is_above_one_half(way):
    for value, area in ((0.5, 0), (0.5 + ABOVE, 12)):
        masks = masks_of((1, 2, 4, 6, value))
        masks[0, 4] = 0.9  # a row that is surely inside
        found = way(["instance"], probs_of({DOG: 1.0}), masks, LOOSE)
        assert int(found.instances.masks[0].sum()) == area + SIZE[1]


@ways(WAYS)
def test_of_two_classes_in_a_tile_each_has_its_own_pixels(way):
    masks = masks_of((0, 0, 6, 3, 0.9), (0, 3, 6, 8, 0.8))
    found = way(["semantic"], probs_of({SEA: 1.0}, {DOG: 1.0}), masks, LOOSE).semantic.values
    labels = found if found.dim() == 2 else found.argmax(0)
    assert labels.tolist() == [[SEA] * 3 + [DOG] * 5] * 6


@ways(WAYS)
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 9])
def test_the_best_pairs_are_taken_before_stuff_is_dropped(way, limit):
    """Two masks and four classes make eight pairs, of which four are of things."""
    probs = probs_of(
        {CAT: 0.4, DOG: 0.05, SKY: 0.3, SEA: 0.1}, {CAT: 0.02, DOG: 0.35, SKY: 0.01, SEA: 0.6}
    )
    probs[:, NOTHING] = 1 - probs.sum(1)
    masks = masks_of((0, 0, 3, 8, 0.9), (3, 1, 6, 8, 0.8))
    pairs = sorted(itertools.product(range(2), range(4)), key=lambda pair: -float(probs[pair]))
    things = [(query, label) for query, label in pairs[:limit] if label <= DOG]
    quality = {0: 0.9, 1: 0.8}
    things.sort(key=lambda pair: -float(probs[pair]) * quality[pair[0]])
    found = way(["instance"], probs, masks, replace(LOOSE, max_instances=limit)).instances
    assert found.labels.tolist() == [label for _, label in things]
    scores = [float(probs[pair]) * quality[pair[0]] for pair in things]
    assert found.scores.tolist() == pytest.approx(scores, abs=1e-5)
    boxes = {0: [0, 0, 8, 3], 1: [1, 3, 8, 6]}
    assert found.boxes.tolist() == [boxes[query] for query, _ in things]
    assert torch.equal(found.masks, masks[[query for query, _ in things]] > 0.5)


def test_pairs_of_a_query_and_a_class_keep_both_numbers():
    probs = torch.tensor([[0.1, 0.5, 0.05, 0.35], [0.3, 0.2, 0.45, 0.05]])
    scores, queries, labels = best_pairs(probs, torch.tensor([True, True, False]), 5)
    assert list(zip(queries.tolist(), labels.tolist())) == [(0, 1), (1, 0), (1, 1), (0, 0)]
    assert scores.tolist() == pytest.approx([0.5, 0.3, 0.2, 0.1])


def test_equal_instances_keep_their_order_and_a_score_stays_below_one():
    """Mask2Former divides by the area and a millionth of a pixel; no pixels are worth nothing."""
    count = 200
    order, scores = ranked_instances(
        torch.ones(count),
        torch.ones(1),
        torch.ones(1, dtype=torch.int64),
        torch.zeros(count).long(),
    )
    assert order.tolist() == list(range(count))
    assert scores.double().tolist() == pytest.approx([1 / 1.000001] * count, rel=2e-7)
    _, nothing = ranked_instances(torch.ones(1), *torch.zeros(2, 1), torch.zeros(1).long())
    assert nothing.tolist() == [0]


@ways(MAP_WAYS)
def test_a_thing_whose_class_stands_out_exactly_enough_is_shown(way):
    """Of two equal classes each is half of what is left when the others are far away."""
    probs = probs_of({CAT: 0.5, DOG: 0.5}, {SKY: 0.5, SEA: 0.5})
    masks = masks_of((0, 0, 3, 8, 0.9), (3, 0, 6, 8, 0.9))
    for min_score, labels in ((0.5, [CAT, SKY]), (0.5 + ABOVE, [SKY])):
        thresholds = replace(LOOSE, min_score=min_score)
        found = way(["panoptic"], probs, masks, thresholds)
        assert [label for label, _ in segments(found)] == labels
        things = way(["instance"], probs, masks, thresholds).instances
        assert things.labels.tolist() == labels[:-1]


@ways(MAP_WAYS)
def test_a_thing_of_exactly_the_least_probability_is_shown(way):
    """Of panoptic things alone: instances have their score, stuff is never asked."""
    probs = probs_of({CAT: 0.5}, {SKY: 0.25})
    masks = masks_of((0, 0, 3, 8, 0.9), (3, 0, 6, 8, 0.9))
    for least, labels in ((0.5, [CAT, SKY]), (0.5 + ABOVE, [SKY])):
        thresholds = replace(LOOSE, min_probability=least)
        found = way(["panoptic"], probs, masks, thresholds)
        assert [label for label, _ in segments(found)] == labels
        assert way(["instance"], probs, masks, thresholds).instances.labels.tolist() == [CAT]


@ways(MAP_WAYS)
@pytest.mark.parametrize(("columns", "count"), [(5, 1), (4, 2), (3, 2)])
def test_an_instance_is_dropped_when_more_than_four_fifths_are_covered(way, columns, count):
    """Five columns, of which a better, wider one of its class covers some, another class all."""
    probs = probs_of({CAT: 1.0}, {CAT: 1.0}, {DOG: 0.1})
    masks = masks_of((0, 5 - columns, 6, 8, 0.9), (0, 0, 6, 5, 0.8), (0, 0, 6, 8, 1.0))
    found = way(["instance"], probs, masks, LOOSE).instances
    assert found.labels.tolist().count(CAT) == count
    few = way(["instance"], probs, masks, replace(LOOSE, max_instances=1)).instances
    assert few.scores.tolist() == pytest.approx([0.9], abs=1e-5)


@ways(MAP_WAYS)
def test_instances_of_a_class_map_are_ranked_by_class_times_mean_probability(way):
    probs = probs_of({CAT: 0.5}, {DOG: 0.6}, {CAT: 1.0}, {SEA: 1.0})
    masks = masks_of((0, 1, 2, 4, 1.0), (3, 0, 6, 5, 0.7), (0, 5, 3, 8, 0.8), (5, 6, 6, 8, 0.9))
    masks[2, 2] *= 0.7 / 0.8  # two rows of three have 0.8
    found = way(["instance"], probs, masks, LOOSE).instances
    assert found.labels.tolist() == [CAT, CAT, DOG]
    scores = [(0.8 * 2 + 0.7) / 3, 0.5, 0.6 * 0.7]
    assert found.scores.tolist() == pytest.approx(scores, abs=1e-5)
    assert found.boxes.tolist() == [[5, 0, 8, 3], [1, 0, 4, 2], [0, 3, 5, 6]]


@ways(WAYS, MAP_WAYS)
@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_without_queries_there_is_nothing(way, task):
    result = way([task], torch.zeros(0, NOTHING + 1), torch.zeros(0, *SIZE), LOOSE)
    assert set(result.computed()) == {{"instance": "instances"}.get(task, task)}
    if task == "panoptic":
        assert result.panoptic.segments == ()
        assert result.panoptic.segment_ids.tolist() == torch.zeros(SIZE).tolist()
    if task == "instance":
        assert result.instances.masks.shape == (0, *SIZE)


@ways(MAP_WAYS)
def test_masks_without_a_pixel_of_their_own_are_not_shown_whatever_share_is_asked_for(way):
    """One is empty, one loses every pixel to a surer class."""
    probs = probs_of({CAT: 1.0}, {DOG: 0.3}, {CAT: 0.9})
    masks = masks_of((0, 0, 3, 8, 0.9), (1, 0, 3, 4, 0.9), (4, 0, 6, 8, 0.3))
    found = way(["instance"], probs, masks, LOOSE).instances
    assert found.labels.tolist() == [CAT]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert segments(way(["panoptic"], probs, masks, LOOSE)) == [(CAT, 24)]


@ways(MAP_WAYS)
def test_instances_of_equal_scores_stay_in_the_order_of_their_masks(way):
    cells = list(itertools.product(range(SIZE[0]), range(SIZE[1])))
    masks = masks_of(*((row, column, row + 1, column + 1, 0.9) for row, column in cells))
    probs = probs_of(*[{DOG: 1.0}] * len(cells))
    found = way(["instance"], probs, masks, LOOSE).instances
    assert found.masks.flatten(1).int().argmax(1).tolist() == list(range(len(cells)))
    assert found.scores.tolist() == pytest.approx([0.9] * len(cells), abs=1e-5)


@ways(WAYS, MAP_WAYS)
@pytest.mark.parametrize("task", ["depth", "instances", ""])
def test_what_is_no_task_is_refused(way, task):
    with pytest.raises(ValueError, match="wanted a non-empty selection of the tasks"):
        way([task], probs_of({CAT: 1.0}), masks_of((0, 0, 3, 8, 0.9)), LOOSE)


@pytest.mark.parametrize("count", [255, 256, 257])
def test_classes_and_segments_beyond_a_byte_keep_their_numbers(count):
    """As many classes as pixels, of which each is the one of its own query."""
    size = (1, count)
    things = Vocabulary(tuple(map(str, range(count))), (True,) * count)
    logits = torch.full((count, *size), -9.0)
    logits[range(count), 0, range(count)] = 9.0
    class_logits = torch.eye(count, count + 1) * 30
    resizing, thresholds = Resizing.of(size, size, size, size), replace(LOOSE, min_score=0.5)
    by_tiles = assemble_in_tiles(
        JUDGED_TASKS,
        class_logits,
        logits,
        resizing,
        things,
        replace(thresholds, max_instances=count),
        100,
    )
    probs = class_logits.softmax(-1)[:, :-1]
    by_map = assemble_by_class_map("panoptic", probs, logits, resizing, things, thresholds, 100)
    numbers = list(range(count))
    assert by_tiles.semantic.values[0].tolist() == numbers
    assert sorted(by_tiles.instances.labels.tolist()) == numbers
    for panoptic in (by_tiles.panoptic, by_map.panoptic):
        assert panoptic.segment_ids[0].tolist() == [number + 1 for number in numbers]
        assert [one.category_id for one in panoptic.segments] == numbers
