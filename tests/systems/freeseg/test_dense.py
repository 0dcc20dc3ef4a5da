"""Losses on whole masks against their definitions."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.systems.freeseg.dense_criterion import DenseCriterion, DenseMatcher
from freeseg.training.losses import pairwise_sigmoid_focal, sigmoid_focal

WEIGHTS = {"loss_ce": 1.0, "loss_mask": 20.0, "loss_dice": 5.0}


def focal(logits, labels):
    """alpha_t (1 - p_t)^2 * -log(p_t), mean over pixels (RetinaNet, equation 5)."""
    p = logits.sigmoid()
    p_t = torch.where(labels > 0.5, p, 1 - p)
    alpha_t = torch.where(labels > 0.5, 0.25, 0.75)
    return (alpha_t * (1 - p_t) ** 2 * -p_t.log()).mean(-1)


def dice(logits, labels):
    p = logits.sigmoid()
    return 1 - (2 * (p * labels).sum(-1) + 1) / (p.sum(-1) + labels.sum(-1) + 1)


def scene(seed=0, num_queries=4, num_targets=3):
    generator = torch.Generator().manual_seed(seed)
    prediction = MaskPrediction(
        torch.randn(1, num_queries, 6, generator=generator),
        torch.randn(1, num_queries, 5, 6, generator=generator),
    )
    masks = torch.rand(num_targets, 20, 24, generator=generator) > 0.5
    return prediction, SegmentationTarget(torch.arange(num_targets), masks)


def test_focal_losses_are_the_definition():
    logits, labels = torch.randn(3, 7), (torch.rand(3, 7) > 0.5).float()
    found = sigmoid_focal(logits, labels, torch.tensor(2.0))
    torch.testing.assert_close(found, focal(logits, labels).sum() / 2)
    others = (torch.rand(5, 7) > 0.5).float()
    pairs = torch.stack([focal(row, others) for row in logits[:, None].expand(-1, 5, -1)])
    torch.testing.assert_close(pairwise_sigmoid_focal(logits, others), pairs)


@pytest.mark.parametrize("seed", range(3))
def test_the_cheapest_assignment_is_found(seed):
    prediction, target = scene(seed)
    ((queries, chosen),) = DenseMatcher(weights=WEIGHTS)(prediction, [target])
    probs = prediction.class_logits[0].softmax(-1)
    small = F.interpolate(target.masks[None].float(), (5, 6), mode="nearest")[0].flatten(1)
    logits = prediction.mask_logits[0].flatten(1)

    def cost(query, index):
        return (
            -probs[query, target.labels[index]]
            + 20 * focal(logits[query], small[index])
            + 5 * dice(logits[query], small[index])
        )

    best = min(
        itertools.permutations(range(4), 3),
        key=lambda order: sum(cost(query, index) for index, query in enumerate(order)),
    )
    assert dict(zip(chosen.tolist(), queries.tolist())) == dict(enumerate(best))


def test_an_image_without_targets_leaves_the_others_as_they_are():
    (first, target), (second, _) = scene(0), scene(1)
    nothing = SegmentationTarget(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 20, 24).bool())
    both = MaskPrediction(
        torch.cat([first.class_logits, second.class_logits]),
        torch.cat([first.mask_logits, second.mask_logits]),
    )
    matcher = DenseMatcher(weights=WEIGHTS)
    (queries, chosen), (none, of_nothing) = matcher(both, [target, nothing])
    ((alone, chosen_alone),) = matcher(first, [target])
    assert queries.tolist() == alone.tolist()
    assert chosen.tolist() == chosen_alone.tolist()
    assert len(none) == len(of_nothing) == 0


def test_losses_are_taken_on_masks_of_image_size():
    prediction, target = scene()
    criterion = DenseCriterion(
        num_classes=None,
        weights=WEIGHTS,
        no_object_weight=0.1,
        num_points=0,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )
    losses = criterion([prediction], [target])
    ((queries, chosen),) = criterion.matcher(prediction, [target])
    large = F.interpolate(
        prediction.mask_logits[:, queries], (20, 24), mode="bilinear", align_corners=False
    )[0].flatten(1)
    labels = target.masks[chosen].flatten(1).float()
    torch.testing.assert_close(losses["loss_mask"], 20 * focal(large, labels).sum() / 3)
    torch.testing.assert_close(losses["loss_dice"], 5 * dice(large, labels).sum() / 3)
    classes = torch.full((4,), 5)
    classes[queries] = target.labels[chosen]
    weight = torch.tensor([1.0, 1, 1, 1, 1, 0.1])
    expected = F.cross_entropy(prediction.class_logits[0], classes, weight)
    torch.testing.assert_close(losses["loss_ce"], expected)


def test_no_targets_give_zero_mask_losses_with_a_graph():
    prediction, _ = scene()
    logits = prediction.mask_logits.requires_grad_()
    nothing = SegmentationTarget(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 20, 24).bool())
    criterion = DenseCriterion(
        num_classes=None,
        weights=WEIGHTS,
        no_object_weight=0.1,
        num_points=0,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )
    losses = criterion([MaskPrediction(prediction.class_logits, logits)], [nothing])
    assert losses["loss_mask"] == losses["loss_dice"] == 0
    (losses["loss_mask"] + losses["loss_dice"]).backward()
    assert logits.grad.abs().max() == 0
