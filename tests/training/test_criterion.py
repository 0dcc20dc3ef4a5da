from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.training import HungarianMatcher, SetCriterion
from freeseg.training.losses import (
    dice,
    pairwise_dice,
    pairwise_sigmoid_cross_entropy,
    pairwise_sigmoid_focal,
    sigmoid_cross_entropy,
)
from freeseg.training.matcher import sample_at

WEIGHTS = {"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
NUM_CLASSES = 3


def build_criterion(**changes) -> SetCriterion:
    arguments = {
        "num_classes": NUM_CLASSES,
        "weights": WEIGHTS,
        "no_object_weight": 0.1,
        "num_points": 64,
        "oversample_ratio": 3.0,
        "importance_sample_ratio": 0.75,
    }
    return SetCriterion(**{**arguments, **changes})


def flat_masks(*logits: float) -> torch.Tensor:
    """Masks [1, Q, 4, 4] of one value each: inside, what is sampled does not depend on where."""
    return (
        torch.tensor(logits, dtype=torch.float32)[None, :, None, None].expand(-1, -1, 4, 4).clone()
    )


def target(labels: list[int], masks: torch.Tensor | None = None) -> SegmentationTarget:
    masks = torch.ones(len(labels), 8, 8).bool() if masks is None else masks
    return SegmentationTarget(torch.tensor(labels, dtype=torch.int64), masks)


@pytest.fixture
def inner_points(monkeypatch):
    """Points are drawn away from borders, where zero padding would bleed into samples."""
    anywhere = torch.rand
    monkeypatch.setattr(torch, "rand", lambda *size, **more: anywhere(*size, **more) / 2 + 0.25)


@pytest.fixture
def random_masks():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 40, generator=generator)
    labels = (torch.rand(3, 40, generator=generator) > 0.5).float()
    return logits, labels


def test_losses_equal_the_formulas(random_masks):
    logits, labels = random_masks[0][:3], random_masks[1]
    probs = logits.sigmoid()
    entropy = -(labels * probs.log() + (1 - labels) * (1 - probs).log())
    overlap = (2 * (probs * labels).sum(1) + 1) / (probs.sum(1) + labels.sum(1) + 1)
    count = torch.tensor(2.0)
    expected = float(entropy.mean(1).sum() / 2), float((1 - overlap).sum() / 2)
    assert sigmoid_cross_entropy(logits, labels, count).item() == pytest.approx(expected[0])
    assert dice(logits, labels, count).item() == pytest.approx(expected[1])


def test_losses_equal_hugging_faces(random_masks):
    theirs = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    logits, labels = random_masks
    matched = logits[:3]
    torch.testing.assert_close(
        sigmoid_cross_entropy(matched, labels, torch.tensor(4.0)),
        theirs.sigmoid_cross_entropy_loss(matched, labels, 4),
    )
    torch.testing.assert_close(
        dice(matched, labels, torch.tensor(4.0)), theirs.dice_loss(matched, labels, 4)
    )
    torch.testing.assert_close(
        pairwise_sigmoid_cross_entropy(logits, labels),
        theirs.pair_wise_sigmoid_cross_entropy_loss(logits, labels),
    )
    torch.testing.assert_close(
        pairwise_dice(logits, labels), theirs.pair_wise_dice_loss(logits, labels)
    )


def test_pairwise_costs_are_the_losses_of_every_pair(random_masks):
    logits, labels = random_masks
    one = torch.tensor(1.0)
    for q, t in itertools.product(range(5), range(3)):
        pair = logits[q : q + 1], labels[t : t + 1], one
        found = pairwise_sigmoid_cross_entropy(logits, labels)[q, t], pairwise_dice(logits, labels)
        torch.testing.assert_close(found[0], sigmoid_cross_entropy(*pair))
        torch.testing.assert_close(found[1][q, t], dice(*pair))


def test_sampling_at_pixel_centres_reads_the_pixels():
    maps = torch.arange(12.0).view(1, 3, 4)
    points = torch.tensor([[0.5 / 4, 0.5 / 3], [3.5 / 4, 1.5 / 3]])
    found = sample_at(maps[None], points[None])
    torch.testing.assert_close(found, torch.tensor([[[0.0, 7.0]]]))


class TestMatcher:
    def test_finds_the_cheapest_assignment_of_all(self):
        """Against every permutation, with costs that do not depend on the sampled points."""
        torch.manual_seed(0)
        matcher = HungarianMatcher(weights=WEIGHTS, num_points=16)
        prediction = MaskPrediction(torch.randn(1, 4, NUM_CLASSES + 1), flat_masks(3, -2, 0.5, -1))
        masks = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)]).bool()
        wanted = target([2, 0], masks)
        (queries, chosen) = matcher(prediction, [wanted])[0]

        def cost(q: int, t: int) -> float:
            logit, label = prediction.mask_logits[0, q].flatten(), masks[t].float()[0, :1]
            pair = logit[None, :16], label.expand(1, 16), torch.tensor(1.0)
            probability = prediction.class_logits[0, q].softmax(-1)[wanted.labels[t]]
            return float(-2 * probability + 5 * sigmoid_cross_entropy(*pair) + 5 * dice(*pair))

        best = min(itertools.permutations(range(4), 2), key=lambda p: cost(p[0], 0) + cost(p[1], 1))
        assert dict(zip(chosen.tolist(), queries.tolist())) == dict(enumerate(best))

    def test_no_targets_and_more_targets_than_queries(self):
        matcher = HungarianMatcher(weights=WEIGHTS, num_points=8)
        prediction = MaskPrediction(torch.zeros(2, 2, NUM_CLASSES + 1), torch.zeros(2, 2, 4, 4))
        empty, crowded = matcher(prediction, [target([]), target([0, 1, 2])])
        assert [len(side) for side in empty] == [0, 0]
        assert [len(side) for side in crowded] == [2, 2]

    def test_a_batch_is_assigned_as_its_images_alone(self):
        """Images of many, few and no targets; the points are the same random numbers."""
        generator = torch.Generator().manual_seed(1)
        prediction = MaskPrediction(
            torch.randn(3, 5, NUM_CLASSES + 1, generator=generator),
            torch.randn(3, 5, 6, 7, generator=generator),
        )
        targets = [
            target([label % NUM_CLASSES for label in range(count)], masks)
            for count in (4, 2, 0)
            for masks in [torch.rand(count, 12, 14, generator=generator) > 0.5]
        ]
        matcher = HungarianMatcher(weights=WEIGHTS, num_points=32)
        torch.manual_seed(0)
        together = matcher(prediction, targets)
        torch.manual_seed(0)
        for index, one in enumerate(targets):
            alone = MaskPrediction(
                prediction.class_logits[index, None], prediction.mask_logits[index, None]
            )
            (expected,) = matcher(alone, [one])
            assert all(map(torch.equal, together[index], expected))

    def test_nan_predictions_do_not_raise_here(self):
        matcher = HungarianMatcher(weights=WEIGHTS, num_points=8)
        prediction = MaskPrediction(torch.full((1, 2, 4), torch.nan), flat_masks(1, 2))
        assert len(matcher(prediction, [target([0])])[0][0]) == 1

    def test_all_zero_costs_are_refused(self):
        with pytest.raises(ValueError, match="at least one matching cost"):
            HungarianMatcher(weights=dict.fromkeys(WEIGHTS, 0.0), num_points=8)


@pytest.mark.usefixtures("inner_points")
class TestCriterion:
    def test_values_by_hand(self):
        """Two queries, one target: masks of one value make every sampled point the same."""
        class_logits = torch.tensor([[[2.0, 0, 0, 0], [0, 0, 0, 1.0]]])
        prediction = MaskPrediction(class_logits, flat_masks(4.0, -4.0))
        losses = build_criterion()([prediction], [target([0])])

        log_probs = class_logits[0].log_softmax(-1)
        cross_entropy = -(log_probs[0, 0] + 0.1 * log_probs[1, 3]) / 1.1
        probability = torch.tensor(4.0).sigmoid()
        overlap = (2 * 64 * probability + 1) / (64 * probability + 64 + 1)
        expected = {
            "loss_ce": 2 * cross_entropy,
            "loss_mask": 5 * F.softplus(torch.tensor(-4.0)),
            "loss_dice": 5 * (1 - overlap),
        }
        assert set(losses) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value, msg=name)

    def test_losses_are_normalised_by_the_number_of_masks(self):
        prediction = MaskPrediction(torch.zeros(1, 2, NUM_CLASSES + 1), flat_masks(4.0, 4.0))
        one = build_criterion()([prediction], [target([0])])
        two = build_criterion()([prediction], [target([0, 0])])
        torch.testing.assert_close(one["loss_mask"], two["loss_mask"])

    def test_every_layer_is_supervised(self):
        layer = MaskPrediction(torch.zeros(1, 2, NUM_CLASSES + 1), flat_masks(1, 2))
        names = {"loss_ce", "loss_mask", "loss_dice"}
        suffixed = {f"{name}_{index}" for name in names for index in range(2)}
        assert set(build_criterion()([layer] * 3, [target([1])])) == names | suffixed
        last_only = build_criterion(deep_supervision=False)([layer] * 3, [target([1])])
        assert set(last_only) == names

    def test_images_without_targets_give_zero_mask_loss_and_a_gradient(self):
        class_logits = torch.zeros(1, 2, NUM_CLASSES + 1, requires_grad=True)
        mask_logits = flat_masks(1, 2).requires_grad_()
        losses = build_criterion()([MaskPrediction(class_logits, mask_logits)], [target([])])
        sum(losses.values()).backward()
        assert losses["loss_mask"] == 0
        assert losses["loss_dice"] == 0
        assert mask_logits.grad.abs().sum() == 0
        assert class_logits.grad[..., -1].lt(0).all()  # pushed towards "no object"

    def test_order_of_targets_changes_nothing(self):
        torch.manual_seed(0)
        prediction = MaskPrediction(torch.randn(1, 4, NUM_CLASSES + 1), flat_masks(3, -2, 0.5, -1))
        masks = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)]).bool()
        one = build_criterion()([prediction], [target([2, 0], masks)])
        two = build_criterion()([prediction], [target([0, 2], masks.flip(0))])
        for name in one:
            torch.testing.assert_close(one[name], two[name])

    def test_the_loss_falls_to_zero_for_a_perfect_prediction(self):
        masks = torch.tensor([True, False])[:, None, None].expand(-1, 8, 8)
        logits = (masks.float() * 2 - 1)[None] * 50
        class_logits = torch.tensor([[[50.0, 0, 0, 0], [0, 50.0, 0, 0]]])
        losses = build_criterion()([MaskPrediction(class_logits, logits)], [target([0, 1], masks)])
        assert losses["loss_ce"] < 1e-6
        assert losses["loss_mask"] < 1e-6
        assert losses["loss_dice"] < 1e-6

    def test_empty_weight_is_part_of_the_state_dict(self):
        state = build_criterion().state_dict()
        torch.testing.assert_close(state["empty_weight"], torch.tensor([1.0, 1, 1, 0.1]))


def test_costs_of_many_images_are_those_of_each():
    """Of batches [B, Q, P] and [B, T, P] every pair, as losses have it."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 40, generator=generator)
    labels = (torch.rand(2, 3, 40, generator=generator) > 0.5).float()
    for pairwise in (pairwise_dice, pairwise_sigmoid_cross_entropy, pairwise_sigmoid_focal):
        together = pairwise(logits, labels)
        alone = torch.stack([pairwise(*image) for image in zip(logits, labels)])
        torch.testing.assert_close(together, alone)
