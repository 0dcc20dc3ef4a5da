"""Results in tiles: equal to those of all masks at once, without having them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from freeseg.inference import (
    Resizing,
    Thresholds,
    assemble,
    assemble_in_tiles,
    best_labels,
    class_scores,
    semantic_scores,
)
from freeseg.structures import JUDGED_TASKS, Vocabulary

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from largest_tensor import LargestTensor

PUBLISHED = Thresholds(0.8, 0.8, 100)


def vocabulary(num_classes: int) -> Vocabulary:
    names = tuple(f"class {index}" for index in range(num_classes))
    return Vocabulary(names, tuple(index % 3 > 0 for index in range(num_classes)))


def prediction(queries: int, classes: int, size: tuple[int, int], seed: int, sharpness: float):
    """Class logits [Q, K+1] of more or less sure queries, and smooth masks [Q, h, w]."""
    generator = torch.Generator().manual_seed(seed)
    class_logits = torch.randn(queries, classes + 1, generator=generator)
    chosen = torch.randint(0, classes + 1, (queries,), generator=generator)
    class_logits[torch.arange(queries), chosen] += sharpness
    coarse = torch.randn(1, queries, 4, 5, generator=generator) * sharpness
    return class_logits, F.interpolate(coarse, size, mode="bicubic")[0]


def enlarged(mask_logits, padded, image, output):
    """The resizes themselves, one after another."""
    masks = F.interpolate(mask_logits[None], padded, mode="bilinear")[..., : image[0], : image[1]]
    return F.interpolate(masks, output, mode="bilinear")[0]


@given(
    queries=st.integers(1, 12),
    classes=st.integers(1, 9),
    mask=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    cut=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    output=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    tile=st.sampled_from([1, 7, 16, 1000]),
    thresholds=st.sampled_from(
        [PUBLISHED, Thresholds(0.0, 0.0, 5), Thresholds(0.3, 0.5, 1, min_area=30)]
    ),
    sharpness=st.sampled_from([1.0, 6.0, 30.0]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_tiles_give_what_all_masks_at_once_give(
    queries, classes, mask, cut, output, tile, thresholds, sharpness, seed
):
    class_logits, mask_logits = prediction(queries, classes, mask, seed, sharpness)
    padded = (4 * mask[0], 4 * mask[1])
    image = (padded[0] - cut[0], padded[1] - cut[1])
    sizes = padded, image, output
    labels = vocabulary(classes)
    resizing = Resizing.of(mask, *sizes)
    found = assemble_in_tiles(
        JUDGED_TASKS, class_logits, mask_logits, resizing, labels, thresholds, tile=tile
    )

    large = enlarged(mask_logits, *sizes)
    wanted = assemble(JUDGED_TASKS, class_logits, large, labels, thresholds)
    # pixels on a mask's very border, or of two equal classes, are rounding's to decide
    is_close = (large.abs() < 1e-4).any(0)
    best = wanted.semantic.values.topk(min(2, classes), dim=0).values
    is_close |= (best[0] - best[-1] < 1e-5) & (classes > 1)
    assert ((found.semantic.values == wanted.semantic.values.argmax(0)) | is_close).all()
    assert found.semantic.values.dtype == torch.int64
    if not is_close.any():
        assert torch.equal(found.panoptic.segment_ids, wanted.panoptic.segment_ids)
        assert found.panoptic.segments == wanted.panoptic.segments
        scores = found.instances.scores, wanted.instances.scores
        torch.testing.assert_close(*scores, atol=1e-4, rtol=0)  # thousands of one-pixel tiles
        if found.instances.scores.diff().abs().gt(1e-4).all():
            assert torch.equal(found.instances.labels, wanted.instances.labels)
            assert torch.equal(found.instances.masks, wanted.instances.masks)
            assert torch.equal(found.instances.boxes, wanted.instances.boxes)


@pytest.mark.parametrize("task", JUDGED_TASKS)
def test_only_the_task_that_is_asked_for_is_there(task):
    class_logits, mask_logits = prediction(6, 4, (8, 8), 0, 6.0)
    resizing = Resizing.of((8, 8), (32, 32), (32, 32), (40, 50))
    together, alone = (
        assemble_in_tiles(tasks, class_logits, mask_logits, resizing, vocabulary(4), PUBLISHED)
        for tasks in (JUDGED_TASKS, [task])
    )
    assert len(alone.computed()) == 1
    if task == "semantic":
        assert torch.equal(alone.semantic.values, together.semantic.values)
    elif task == "instance":
        assert torch.equal(alone.instances.masks, together.instances.masks)
    else:
        assert torch.equal(alone.panoptic.segment_ids, together.panoptic.segment_ids)


@pytest.mark.parametrize(
    "tasks", [JUDGED_TASKS, ["semantic"], ["semantic", "panoptic"], ["instance"]]
)
@pytest.mark.parametrize("wants_scores", [False, True])
def test_what_is_semantic_is_scores_where_they_are_wanted(tasks, wants_scores):
    class_logits, mask_logits = prediction(6, 4, (8, 8), 0, 6.0)
    sizes = (32, 32), (30, 31), (40, 50)
    resizing = Resizing.of((8, 8), *sizes)
    found = assemble_in_tiles(
        tasks,
        class_logits,
        mask_logits,
        resizing,
        vocabulary(4),
        PUBLISHED,
        wants_scores=wants_scores,
    )
    scores = semantic_scores(class_logits.softmax(-1), enlarged(mask_logits, *sizes).sigmoid())
    if "semantic" not in tasks:
        assert found.semantic is None
    elif wants_scores:
        torch.testing.assert_close(found.semantic.values, scores)
    else:
        assert (found.semantic.values == scores.argmax(0)).float().mean() > 0.999
    assert len(found.computed()) == len(tasks)


@pytest.mark.parametrize("output", [(48, 64), (30, 100)])
@pytest.mark.parametrize("tile", [9, 64])
def test_labels_are_those_of_the_resized_scores(output, tile):
    class_logits, mask_logits = prediction(9, 7, (24, 32), 1, 6.0)
    class_probs, mask_probs = class_logits.softmax(-1), mask_logits.sigmoid()
    scores = semantic_scores(class_probs, mask_probs)
    wanted = F.interpolate(scores[None], output, mode="bilinear")[0].argmax(0)
    size = (24, 32)
    resizing = Resizing.of(size, size, size, output)
    found = best_labels(class_probs[:, :-1], mask_probs, resizing, tile)
    assert found.dtype == torch.int64
    assert (found == wanted).float().mean() > 0.999
    assert torch.equal(best_labels(class_probs[:, :-1], mask_probs), scores.argmax(0))


def test_scores_are_those_of_all_masks_at_once_and_have_gradients():
    class_logits, mask_logits = prediction(9, 7, (6, 8), 1, 6.0)
    sizes = (24, 32), (23, 30), (150, 200)
    resizing = Resizing.of((6, 8), *sizes)
    gradients = []
    for by_tiles in (True, False):
        leaves = class_logits.clone().requires_grad_(), mask_logits.clone().requires_grad_()
        weights = leaves[0].softmax(-1)
        if by_tiles:
            scores = class_scores(weights[:, :-1], leaves[1], resizing)
        else:
            scores = semantic_scores(weights, enlarged(leaves[1], *sizes).sigmoid())
        (scores**2).mean().backward()
        gradients.append([scores.detach(), *(leaf.grad for leaf in leaves)])
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_broken_model_still_gets_an_answer(number):
    class_logits, mask_logits = prediction(5, 3, (8, 8), 2, 6.0)
    mask_logits[1, 2:5] = number
    size = (8, 8)
    result = assemble_in_tiles(
        JUDGED_TASKS,
        class_logits,
        mask_logits,
        Resizing.of(size, size, size, size),
        vocabulary(3),
        PUBLISHED,
    )
    assert result.semantic.values.shape == result.panoptic.segment_ids.shape == size


def test_autocast_does_not_coarsen_results():
    class_logits, mask_logits = prediction(6, 4, (16, 16), 3, 2.0)
    resizing = Resizing.of((16, 16), (64, 64), (64, 64), (64, 64))
    arguments = (JUDGED_TASKS, class_logits, mask_logits, resizing, vocabulary(4), PUBLISHED)
    plain = assemble_in_tiles(*arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = assemble_in_tiles(*arguments)
    assert torch.equal(plain.semantic.values, cast.semantic.values)
    assert torch.equal(plain.instances.scores, cast.instances.scores)


def test_no_stack_of_maps_at_the_outputs_size_is_made():
    queries, classes, side = 40, 60, 512
    class_logits, mask_logits = prediction(queries, classes, (64, 64), 4, 12.0)
    resizing = Resizing.of((64, 64), (256, 256), (256, 256), (side, side))
    with LargestTensor() as largest:
        assemble_in_tiles(
            ("semantic", "panoptic"),
            class_logits,
            mask_logits,
            resizing,
            vocabulary(classes),
            PUBLISHED,
        )
    assert side**2 <= largest.values < 2 * side**2
