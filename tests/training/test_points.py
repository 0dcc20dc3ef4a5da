"""Where mask losses are taken: as many uncertain points as asked for, the rest anywhere."""

from __future__ import annotations

import pytest
import torch

from freeseg.training import SetCriterion

NUM_POINTS = 4000


def drawn(importance: float, oversample: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels at points of a mask whose logit grows from -8 to 8 across the picture."""
    torch.manual_seed(0)
    criterion = SetCriterion(
        num_classes=2,
        weights={"loss_ce": 1.0, "loss_mask": 1.0, "loss_dice": 1.0},
        no_object_weight=0.1,
        num_points=NUM_POINTS,
        oversample_ratio=oversample,
        importance_sample_ratio=importance,
    )
    logits = torch.linspace(-8, 8, 64).expand(1, 48, 64)
    masks = torch.zeros(1, 48, 64, dtype=torch.bool)
    masks[:, :, 32:] = True
    found, labels = criterion._sample_points(logits, masks)
    assert found.shape == labels.shape == (1, NUM_POINTS)
    return found[0], labels[0]


def test_without_importance_points_are_anywhere() -> None:
    logits, labels = drawn(0.0)
    assert logits.abs().mean() == pytest.approx(4, abs=0.15), "of a ramp from -8 to 8"
    quarters = torch.histc(logits, bins=4, min=-8, max=8) / NUM_POINTS
    assert quarters.tolist() == pytest.approx([0.25] * 4, abs=0.03)
    assert labels.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("importance", [0.25, 0.75, 1.0])
def test_the_asked_share_of_points_is_uncertain(importance: float) -> None:
    """Of three candidates a point the best third is kept, so their |logit| is below 8 / 3."""
    logits, _ = drawn(importance)
    near = (logits.abs() < 8 * importance / 3).float().mean()
    anywhere = (1 - importance) * importance / 3  # of the points that are drawn anywhere
    assert near == pytest.approx(importance + anywhere, abs=0.03)


def test_more_candidates_give_more_uncertain_points() -> None:
    means = [float(drawn(1.0, oversample)[0].abs().mean()) for oversample in (1.0, 2.0, 8.0)]
    # the nearest of n times as many points on the ramp have 1 / n of the mean
    assert means == pytest.approx([4, 2, 0.5], abs=0.1)


def test_logits_and_labels_are_read_at_one_point_each_mask_at_its_own(monkeypatch) -> None:
    """Ramps tell where a point is; labels are of masks half as large, whose edge blurs them."""
    anywhere = torch.rand  # but near borders, beyond which everything is 0
    monkeypatch.setattr(torch, "rand", lambda *size, **more: 0.8 * anywhere(*size, **more) + 0.1)
    criterion = SetCriterion(
        num_classes=2,
        weights={"loss_ce": 1.0, "loss_mask": 1.0, "loss_dice": 1.0},
        no_object_weight=0.1,
        num_points=500,
        oversample_ratio=1.0,
        importance_sample_ratio=0.0,
    )
    across = torch.arange(64.0).expand(48, 64)
    down = torch.arange(48.0)[:, None].expand(48, 64)
    masks = torch.zeros(2, 24, 32, dtype=torch.bool)
    masks[0, :, 5:], masks[1, 17:] = True, True
    logits, labels = criterion._sample_points(torch.stack([across, down]), masks)
    in_masks = (logits + 0.5) / 2 - 0.5
    expected = (in_masks - torch.tensor([[4], [16]])).clamp(0, 1)
    assert (expected.std(1) > 0.1).all()
    torch.testing.assert_close(labels, expected, atol=1e-4, rtol=0)
