"""Cross-entropy of pixels: a mean over all that are judged, whoever has them; labels held back."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from freeseg.systems.lseg.withholding import withhold
from freeseg.training import VOID, PixelCriterion

sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import Processes


def group(images, classes, seed, size=(5, 7)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, classes, *size, generator=generator)
    return logits, torch.randint(VOID, classes, (images, *size), generator=generator)


def by_hand(groups):
    """The mean, pixel by pixel, of minus the logarithm of the true label's probability."""
    losses = []
    for logits, labels in groups:
        for rows, truth in zip(logits.double().numpy(), labels.numpy()):
            for y, x in zip(*np.nonzero(truth != VOID)):
                powers = np.exp(rows[:, y, x])
                losses.append(-np.log(powers[truth[y, x]] / powers.sum()))
    return float(np.mean(losses))


def loss_of(groups):
    return PixelCriterion()(*zip(*groups))["loss_sem_seg"]


def test_groups_of_their_own_labels_have_the_mean_over_all_pixels():
    groups = [group(2, 3, 0), group(1, 6, 1), group(3, 2, 2, size=(4, 4))]
    assert loss_of(groups).item() == pytest.approx(by_hand(groups), rel=1e-5)


def test_shares_of_three_processes_one_of_them_void_have_the_mean_of_the_whole(monkeypatch):
    shares = [[group(2, 3, 0), group(1, 5, 1)], [group(1, 4, 2)], [group(3, 2, 3)]]
    shares[1][0][1].fill_(VOID)
    wanted = by_hand([one for share in shares for one in share])
    processes = Processes(monkeypatch, len(shares))
    found = processes.run([lambda share=share: loss_of(share) for share in shares])
    assert torch.stack(found).mean().item() == pytest.approx(wanted, rel=1e-5)
    assert found[1] == 0


def test_void_around_images_changes_nothing():
    logits, labels = group(2, 3, 0)
    wider = F.pad(logits, (2, 3, 1, 4), value=9.0), F.pad(labels, (2, 3, 1, 4), value=VOID)
    torch.testing.assert_close(loss_of([wider]), loss_of([(logits, labels)]))


def test_a_batch_of_void_costs_nothing_and_teaches_nothing():
    logits = torch.randn(1, 3, 4, 5, requires_grad=True)
    loss = loss_of([(logits, torch.full((1, 4, 5), VOID))])
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().max() == 0


def test_one_judged_pixel_is_the_mean_of_itself():
    logits, labels = group(1, 3, 0)
    labels[:] = VOID
    labels[0, 2, 3] = 1
    assert loss_of([(logits, labels)]).item() == pytest.approx(by_hand([(logits, labels)]))


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_labels_are_held_back_as_often_as_asked_for(share):
    generator = torch.Generator().manual_seed(0)
    kept = Counter(label for _ in range(300) for label in withhold(10, share, generator))
    assert set(kept) == set(range(10))
    assert [kept[label] / 300 for label in range(10)] == pytest.approx([1 - share] * 10, abs=0.1)


def test_one_label_is_left_when_all_would_be_held_back_and_it_may_be_any():
    generator = torch.Generator().manual_seed(0)
    left = [withhold(4, 1.0, generator) for _ in range(80)]
    assert {len(labels) for labels in left} == {1}
    assert {labels[0] for labels in left} == {0, 1, 2, 3}


def test_nothing_is_held_back_at_a_share_of_nothing(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.zeros(size))  # its least number
    assert withhold(5, 0.0) == [0, 1, 2, 3, 4]


def test_a_generator_alone_decides_what_is_held_back():
    one, two = (torch.Generator().manual_seed(5) for _ in range(2))
    draws = [withhold(6, 0.9, one) for _ in range(20)]
    torch.manual_seed(1)
    assert [withhold(6, 0.9, two) for _ in range(20)] == draws
