"""What is found everywhere is what plain loops over whole masks find."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from freeseg.inference.everything import (
    Candidates,
    PointedWindow,
    grid_points,
    inclusive,
    is_cut_off,
    join_windows,
    look_at_window,
    stability_of,
    windows_of,
)
from freeseg.structures import EverythingSettings, Frame, InstanceSet, Runs

SIZE = (90, 120)
LOOSE = {"min_quality": 0.3, "min_stability": 0.4, "points_per_side": 6}


class Discs:
    """Around every point three wavy discs, which are the better the nearer they are to a place."""

    def __init__(self, window):
        self.window = window
        self.made = 0

    def decode(self, points):
        left, top, right, bottom = self.window
        x, y = points.float().unbind(1)
        qualities = torch.stack([(x * 7 + y * 3).sin(), (x + y * 5).cos(), (x - y).sin()], 1)
        rows = torch.arange(top, bottom)[:, None] - y[:, None, None]
        columns = torch.arange(left, right) - x[:, None, None]
        distance = (rows**2 + columns**2).sqrt()
        waves = 3 * (rows * 0.9).sin() * (columns * 0.8).cos()
        radii = torch.tensor([6.0, 14.0, 25.0])[None, :, None, None]
        logits = (radii - distance[:, None] + waves[:, None]) * 0.6  # [P, 3, h, w]
        return qualities, logits

    def candidates(self, points):
        qualities, logits = self.decode(points)

        def chosen_logits(chosen):
            self.made += int(chosen.sum())
            return logits[chosen].split(5)

        return Candidates(qualities, chosen_logits)


def found_in(window, settings, points_at_once=7):
    discs = Discs(window)
    frame = frame_of(window)
    pointed = PointedWindow(frame, discs.candidates, lambda x: x, points_at_once)
    found = look_at_window(pointed, settings)
    return found, discs


def frame_of(window):
    size = (window[3] - window[1], window[2] - window[0])
    return Frame(SIZE, size, size, window)


def box_by_hand(mask):
    rows, columns = np.nonzero(mask)
    return (columns.min(), rows.min(), columns.max(), rows.max()) if len(rows) else (0, 0, 0, 0)


def overlap_by_hand(one, other):
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    inside = max(width, 0) * max(height, 0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - inside
    return inside / union if union else 0.0


def suppressed_by_hand(boxes, scores, limit):
    kept = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        if all(overlap_by_hand(boxes[index], boxes[other]) <= limit for other in kept):
            kept.append(index)
    return kept


def window_by_hand(window, settings):
    """Rows (quality, stability, point, mask on the photo), the way of the description."""
    left, top, right, bottom = window
    rows = []
    for point in grid_points(settings, window):
        qualities, logits = Discs(window).decode(point[None])
        for quality, one in zip(qualities[0].tolist(), logits[0].numpy()):
            if settings.min_quality > 0 and not quality > settings.min_quality:
                continue
            margin = settings.stability_margin
            above, below = (one > margin).sum(), (one > -margin).sum()
            stability = above / below if below else math.nan
            if settings.min_stability > 0 and not stability >= settings.min_stability:
                continue
            mask = np.zeros(SIZE, bool)
            mask[top:bottom, left:right] = one > 0
            near = [abs(a - b) <= 20 for a, b in zip(box_by_hand(mask), window)]
            photo = (0, 0, SIZE[1], SIZE[0])
            at_photo = [abs(a - b) <= 20 for a, b in zip(box_by_hand(mask), photo)]
            if not any(a and not b for a, b in zip(near, at_photo)):
                rows.append((quality, stability, point.tolist(), mask))
    boxes = [box_by_hand(row[3]) for row in rows]
    kept = suppressed_by_hand(boxes, [row[0] for row in rows], settings.max_overlap)
    return [rows[index] for index in kept]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"min_quality": 0.0, "min_stability": 0.0, "points_per_side": 3},
        {"min_quality": -0.5, "max_overlap": 0.3},
        {"stability_margin": 3.0, "min_stability": 0.25, "points_per_batch": 4},
        {"point_grids": [[(0.2, 0.9), (0.5, 0.5)]], "min_quality": 0.0},
    ],
    ids=["plain", "no filter", "few", "margin", "own points"],
)
@pytest.mark.parametrize("window", [(0, 0, 120, 90), (40, 0, 120, 70), (30, 25, 100, 90)])
def test_a_window_gives_what_loops_give(window, changes):
    settings = EverythingSettings(**{**LOOSE, **changes})
    found, discs = found_in(window, settings)
    expected = window_by_hand(window, settings)
    assert len(expected) > 3 or window != (0, 0, 120, 90)
    assert len(found) == len(expected)
    for number, (quality, stability, point, mask) in enumerate(expected):
        np.testing.assert_array_equal(found.masks.mask(number), mask)
        assert found.qualities[number].item() == quality
        assert found.stabilities[number].item() == pytest.approx(stability, abs=1e-6, nan_ok=True)
        assert found.points[number].tolist() == point
        assert inclusive(found.boxes)[number].tolist() == list(box_by_hand(mask))
    assert found.windows.tolist() == [list(window)] * len(expected)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    if settings.min_quality > 0:
        qualities, _ = discs.decode(grid_points(settings, window))
        assert discs.made == (qualities > settings.min_quality).sum(), "no rejected mask is made"


@pytest.mark.parametrize("points_at_once", [1, 5, 64])
def test_batches_change_nothing(points_at_once):
    settings = EverythingSettings(**LOOSE)
    window = (0, 0, 120, 90)
    one, other = found_in(window, settings)[0], found_in(window, settings, points_at_once)[0]
    assert torch.equal(one.masks.spans, other.masks.spans)
    assert torch.equal(one.qualities, other.qualities)


def test_nothing_found_is_an_empty_result():
    settings = EverythingSettings(points_per_side=4, min_quality=2.0)
    found, discs = found_in((0, 0, 120, 90), settings)
    assert len(found) == discs.made == 0
    assert found.image_size == SIZE
    joined = join_windows([found, found], SIZE, EverythingSettings(min_region_area=5))
    assert len(joined) == 0


def test_windows_overlap_by_the_share_of_the_shorter_side():
    settings = EverythingSettings(crop_layers=2, crop_overlap=0.4)
    windows = windows_of((192, 256), settings)
    assert [layer for layer, _ in windows] == [0] + [1] * 4 + [2] * 16
    assert windows[0][1] == (0, 0, 256, 192)
    first = [(0, 0, 166, 134), (0, 58, 166, 192), (90, 0, 256, 134), (90, 58, 256, 192)]
    assert [window for layer, window in windows if layer == 1] == first, "down first, then right"
    # 38 of overlap: 93 is (38 * 3 + 256) / 4 and more; the last ones are cut at the border
    columns = [(0, 93), (55, 148), (110, 203), (165, 256)]
    rows = [(0, 77), (39, 116), (78, 155), (117, 192)]
    expected = [(left, top, right, bottom) for left, right in columns for top, bottom in rows]
    assert [window for layer, window in windows if layer == 2] == expected


@pytest.mark.parametrize("size", [(480, 641), (1000, 333), (57, 64)])
def test_windows_lie_in_the_photo_and_cover_it(size):
    windows = windows_of(size, EverythingSettings(crop_layers=3))
    for layer in range(4):
        seen = np.zeros(size, dtype=int)
        for left, top, right, bottom in (w for one, w in windows if one == layer):
            assert 0 <= left < right <= size[1]
            assert 0 <= top < bottom <= size[0]
            seen[top:bottom, left:right] += 1
        assert seen.min() >= 1


def test_points_are_the_middles_of_a_grids_cells():
    points = grid_points(EverythingSettings(points_per_side=2), (10, 20, 50, 40))
    assert points.tolist() == [[20, 25], [40, 25], [20, 35], [40, 35]]
    layers = EverythingSettings(points_per_side=9, crop_layers=2, points_divisor=2)
    assert [layers.of_layer(layer).points_per_side for layer in range(3)] == [9, 4, 2]
    own = EverythingSettings(point_grids=[[(0.5, 0.25)], [(0, 1), (1, 1)]], crop_layers=1)
    assert grid_points(own.of_layer(1), (10, 20, 50, 40)).tolist() == [[10, 40], [50, 40]]


def test_stability_is_of_pixels_and_nothing_by_nothing_is_no_number():
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -3.0]], [[-2.0, -2], [-2, -2]]])
    found = stability_of(logits, 1.0)
    assert found[0] == pytest.approx(1 / 3)
    assert found[1].isnan()
    assert stability_of(logits, 0.0)[0] == 1


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((25, 31, 70, 60), False),
        ((20, 31, 70, 60), False),  # the photo's left border
        ((25, 31, 81, 60), True),  # 19 from the window's right side at 100
        ((25, 31, 80, 60), True),
        ((25, 31, 79, 60), False),
        ((25, 25, 70, 80), True),  # 15 from the window's top, 25 from the photo's
        ((25, 10, 70, 80), False),  # near both, and the photo ends below
    ],
)
def test_masks_that_a_window_cuts_off_are_known_by_their_boxes(box, expected):
    frame = Frame((90, 200), (80, 100), (80, 100), (0, 10, 100, 90))
    assert is_cut_off(torch.tensor([box]).float(), frame).tolist() == [expected]


def test_windows_join_with_small_ones_before_large_ones():
    settings = EverythingSettings(**LOOSE, crop_layers=1, max_crop_overlap=0.5)
    found = [
        found_in(window, settings.of_layer(layer))[0]
        for layer, window in windows_of(SIZE, settings)
    ]
    joined = join_windows(found, SIZE, settings)
    rows = [
        (1 / ((w[2] - w[0]) * (w[3] - w[1])), part.masks.mask(number).numpy())
        for part in found
        for number, w in enumerate(part.windows.tolist())
    ]
    boxes = [box_by_hand(mask) for _, mask in rows]
    kept = suppressed_by_hand(boxes, [score for score, _ in rows], 0.5)
    assert len(rows) > len(kept) > len(found[0]) / 2
    assert len(joined) == len(kept)
    for number, index in enumerate(kept):
        np.testing.assert_array_equal(joined.masks.mask(number), rows[index][1])


def test_masks_without_small_regions_give_way_to_untouched_ones():
    masks = torch.zeros(3, 30, 40, dtype=torch.bool)
    masks[0, 2:20, 2:20] = True
    masks[0, 5, 5] = False  # a hole
    masks[1, 2:20, 2:21] = True  # nearly the same, whole
    masks[2, 22:28, 22:38] = True
    masks[2, 1, 1] = True  # an island
    count = len(masks)
    instances = InstanceSet(
        masks=Runs.of_masks(masks),
        boxes=Runs.of_masks(masks).boxes(),
        labels=None,
        scores=torch.ones(count),
        qualities=torch.arange(count).float(),
        stabilities=torch.ones(count),
        points=torch.zeros(count, 2, dtype=torch.float64),
        windows=torch.tensor([[0, 0, 40, 30]]).expand(count, 4),
    )
    joined = join_windows([instances], (30, 40), EverythingSettings(min_region_area=4))
    assert joined.qualities.tolist() == [1, 2]
    assert joined.boxes.tolist() == [[2, 2, 21, 20], [22, 22, 38, 28]]
    assert torch.equal(joined.masks.mask(0), masks[1])
    assert not joined.masks.mask(1)[1, 1]
    untouched = join_windows([instances], (30, 40), EverythingSettings())
    assert torch.equal(untouched.masks.masks(), masks)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points_per_side": 0}, "points_per_side must be a whole number from 1 on, got 0"),
        ({"points_per_batch": 1.5}, "points_per_batch must be a whole number"),
        ({"crop_layers": -1}, "crop_layers must be a whole number from 0 on"),
        ({"max_overlap": 1.2}, r"max_overlap must lie in \[0, 1\]"),
        ({"crop_overlap": math.nan}, r"crop_overlap must lie in \[0, 1\]"),
        ({"min_quality": math.nan}, "min_quality must be a number"),
        ({"stability_margin": -1.0}, "stability_margin must be from 0 on"),
        ({"crop_layers": 6, "points_divisor": 2}, "layer 6 has no point"),
        ({"point_grids": [[(0.5, 0.5)]], "crop_layers": 1}, "wanted point_grids of 2 layers"),
        ({"point_grids": [[]]}, r"point_grids\[0\] is empty"),
        ({"point_grids": [[(0.5, 1.5)]]}, r"point_grids\[0\]\[0\] must be \(x, y\) in \[0, 1\]"),
    ],
)
def test_settings_without_a_meaning_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        EverythingSettings(**wrong)
