"""Edges of masks that are drawn: where they lie, how strong they are, which masks give any."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from freeseg.inference.edges import edges_in, outer_boundaries, slopes
from freeseg.inference.everything import Candidates, PointedWindow
from freeseg.structures import EverythingSettings, Frame

SIZE = (60, 80)
ONE_POINT = EverythingSettings(points_per_side=1)


def disc(x, y, radius, sharpness=2.0):
    """Logits [H, W], positive inside."""
    rows, columns = torch.meshgrid(
        torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij"
    )
    return (radius - ((rows - y) ** 2 + (columns - x) ** 2).sqrt()) * sharpness


def window_of(logits, qualities):
    """Every point gets the same masks, in parts of two."""

    def decode(points):
        count = len(points)
        many = torch.stack(logits).expand(count, -1, -1, -1)
        values = torch.tensor(qualities).expand(count, -1)
        return Candidates(values, lambda chosen: iter(many[chosen].split(2)))

    return PointedWindow(Frame.of_whole(SIZE), decode, lambda maps: maps)


def expected(logits):
    """Sobel's length on the outer boundary, by OpenCV."""
    probabilities = logits.sigmoid().numpy()
    across, down = (
        cv2.Sobel(probabilities, cv2.CV_32F, *order, borderType=cv2.BORDER_REPLICATE)
        for order in ((1, 0), (0, 1))
    )
    mask = (logits > 0).numpy().astype(np.uint8)
    outside = cv2.dilate(mask, np.ones((3, 3), np.uint8)) - mask
    return np.hypot(across, down) * outside


def test_strengths_are_sobels_on_the_outer_boundary():
    logits = torch.stack([disc(30, 30, 14), disc(5, 50, 20), torch.full(SIZE, -1.0)])
    found = slopes(logits.sigmoid()) * outer_boundaries(logits > 0)
    for number, one in enumerate(logits):
        np.testing.assert_allclose(found[number].numpy(), expected(one), atol=1e-6)
    assert not found[2].any()


def test_edges_are_the_largest_of_all_masks_scaled_and_thin():
    masks = [disc(30, 30, 14), disc(60, 20, 10, 0.3), disc(70, 50, 9)]
    found = edges_in(window_of(masks, [0.1, -3.0, 0.9]), ONE_POINT)
    together = np.max([expected(mask) for mask in masks], axis=0)
    together /= together.max()
    kept = found > 0
    np.testing.assert_allclose(found[kept], together[kept], atol=1e-6)
    assert found.max() == pytest.approx(1)
    for mask in masks:  # one pixel of each side is left all around
        (outline,), _ = cv2.findContours(
            (mask > 0).numpy().astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        near = cv2.dilate(kept.astype(np.uint8), np.ones((5, 5), np.uint8))
        assert near[outline[:, 0, 1], outline[:, 0, 0]].mean() > 0.95


def test_of_masks_that_overlap_the_better_one_counts():
    large, small = disc(40, 30, 20, 2.0), disc(40, 30, 18, 2.0)
    found = edges_in(window_of([large, small], [0.2, 0.8]), ONE_POINT)
    alone = edges_in(window_of([small], [0.8]), ONE_POINT)
    np.testing.assert_array_equal(found, alone)
    settings = EverythingSettings(points_per_side=1, max_overlap=1.0)
    both = edges_in(window_of([large, small], [0.2, 0.8]), settings)
    assert np.count_nonzero(both) > 1.5 * np.count_nonzero(found)


def test_the_edge_of_the_photo_is_none():
    everything = torch.full(SIZE, 3.0)
    half = everything.clone()
    half[:, 40:] = -3
    assert not edges_in(window_of([everything], [0.5]), ONE_POINT).any()
    found = edges_in(window_of([half], [0.5]), ONE_POINT)
    assert set(np.nonzero(found)[1].tolist()) == {40}
