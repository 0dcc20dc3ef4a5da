"""Results at another size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeseg.inference import (
    Resizing,
    crop_and_resize,
    mask_boxes,
    resize_result,
    to_padded_size,
    upsample,
)
from freeseg.structures import (
    ImageFeatures,
    InstanceSet,
    PanopticMap,
    Segment,
    SegmentationResult,
    SemanticMap,
)


def test_ids_survive_and_areas_are_counted_again():
    ids = torch.tensor([[1, 70000], [0, 3]], dtype=torch.int32)
    segments = tuple(Segment(number, 0, True, 0.5, 1) for number in (1, 3, 70000))
    found = resize_result(SegmentationResult(panoptic=PanopticMap(ids, segments)), (4, 6)).panoptic
    assert found.segment_ids.dtype == torch.int32
    assert torch.equal(found.segment_ids, ids.repeat_interleave(2, 0).repeat_interleave(3, 1))
    assert [one.area for one in found.segments] == [6, 6, 6]


def test_segments_that_vanish_are_not_listed():
    ids = torch.tensor([[1, 1, 2, 1, 1]], dtype=torch.int32).expand(5, -1)
    segments = (Segment(1, 0, True, 0.5, 20), Segment(2, 1, True, 0.5, 5))
    found = resize_result(SegmentationResult(panoptic=PanopticMap(ids, segments)), (2, 2)).panoptic
    assert [one.id for one in found.segments] == [1]


def test_masks_and_boxes_grow_together():
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 1:3, 2:] = True
    instances = InstanceSet(masks, mask_boxes(masks), torch.tensor([5]), torch.tensor([0.5]))
    found = resize_result(SegmentationResult(None, instances), (8, 12))
    assert found.instances.boxes.tolist() == [[6, 2, 12, 6]]
    assert found.instances.labels.tolist() == [5]
    assert found.instances.scores.tolist() == [0.5]
    none = InstanceSet(masks[:0], masks.new_zeros(0, 4), masks.new_zeros(0), masks.new_zeros(0))
    assert resize_result(SegmentationResult(None, none), (8, 8)).instances.masks.shape == (0, 8, 8)


def between(side, new_side):
    """Where new pixels' centres lie among the old ones, which go on beyond the first and last."""
    return np.clip((np.arange(new_side) + 0.5) * side / new_side - 0.5, 0, side - 1)


def corner_to_corner(side, new_side):
    return np.linspace(0, side - 1, new_side)


def ramps(rows, columns):
    """Maps [2, h, w]: one grows down by 10 a pixel, one across by 1."""
    down = 10 * torch.as_tensor(rows)[:, None].expand(-1, len(columns))
    across = torch.as_tensor(columns).expand(len(rows), -1)
    return torch.stack([down, across]).float()


@pytest.mark.parametrize("size", [(8, 12), (5, 21), (3, 4), (1, 1)])
def test_scores_go_straight_from_pixel_to_pixel(size):
    scores = ramps(range(5), range(7))
    found = resize_result(SegmentationResult(SemanticMap(scores)), size).semantic.values
    wanted = ramps(between(5, size[0]), between(7, size[1]))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(crop_and_resize(scores, (5, 7), size), wanted)


@pytest.mark.parametrize("size", [(9, 11), (40, 30)])
def test_ids_and_masks_are_those_of_the_pixel_in_which_a_centre_lies(size):
    ids = torch.arange(1, 21, dtype=torch.int32).view(4, 5)
    segments = tuple(Segment(number, number % 3, True, 0.5, 1) for number in range(1, 21))
    masks = (ids % 3 == 0)[None]
    instances = InstanceSet(masks, mask_boxes(masks), torch.tensor([2]), torch.tensor([0.5]))
    result = SegmentationResult(None, instances, PanopticMap(ids, segments))
    found = resize_result(result, size)
    rows, columns = ((np.arange(n) + 0.5) * side // n for side, n in zip((4, 5), size))
    wanted = ids.numpy()[rows.astype(int)][:, columns.astype(int)]
    assert np.array_equal(found.panoptic.segment_ids, wanted)
    assert np.array_equal(found.instances.masks[0], wanted % 3 == 0)
    expected = tuple(
        Segment(number, number % 3, True, 0.5, int((wanted == number).sum()))
        for number in range(1, 21)
    )
    assert found.panoptic.segments == expected


def test_padding_is_cut_off_before_anything_is_resized():
    maps = ramps(range(6), range(9))
    maps[:, 4:], maps[:, :, 7:] = 1000, 1000
    wanted = ramps(between(4, 10), between(7, 10))
    torch.testing.assert_close(crop_and_resize(maps, (4, 7), (10, 10)), wanted)
    torch.testing.assert_close(crop_and_resize(maps, (4, 7), (4, 7)), ramps(range(4), range(7)))


def test_maps_are_enlarged_corner_to_corner_cut_and_resized():
    padded, image, size = (20, 36), (18, 30), (45, 40)
    down, across = corner_to_corner(5, 20), corner_to_corner(9, 36)
    small = ramps(range(5), range(9))
    torch.testing.assert_close(to_padded_size(small[None], padded)[0], ramps(down, across))
    features = ImageFeatures((), torch.zeros(2, 1, 5, 9), padded, ((20, 36), image))
    wanted = ramps(
        np.interp(between(18, 45), np.arange(18), down[:18]),
        np.interp(between(30, 40), np.arange(30), across[:30]),
    )
    torch.testing.assert_close(upsample(small, features.frames[1], size), wanted)
    torch.testing.assert_close(upsample(small, features.frames[0], padded), ramps(down, across))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(
    ("image", "size"), [((20, 36), (20, 36)), ((18, 30), (18, 30)), ((17, 29), (50, 23))]
)
def test_matrices_take_ramps_where_the_resizes_take_them(image, size, align_corners):
    first = corner_to_corner if align_corners else between
    resizing = Resizing.of((5, 9), (20, 36), image, size, align_corners=align_corners)
    sides = zip((5, 9), (20, 36), image, size)
    rows, columns = (
        np.interp(between(cut, new), np.arange(cut), first(small, large)[:cut])
        for small, large, cut, new in sides
    )
    found = resizing.rows @ ramps(range(5), range(9)) @ resizing.columns.T
    torch.testing.assert_close(found, ramps(rows, columns))
    for matrix in (resizing.rows, resizing.columns):
        torch.testing.assert_close(matrix.sum(1), torch.ones(len(matrix)))


def test_a_padding_that_goes_on_as_the_image_ends_changes_nothing():
    maps = torch.randn(3, 4, 6)
    wider = torch.nn.functional.pad(maps[None], (0, 3, 0, 2), mode="replicate")[0]
    size = (16, 24)
    one = Resizing.of((4, 6), size, size, (31, 40))
    two = Resizing.of((6, 9), (24, 36), size, (31, 40))
    torch.testing.assert_close(
        two.rows @ wider @ two.columns.T, one.rows @ maps @ one.columns.T, atol=1e-5, rtol=1e-5
    )


def test_the_same_size_changes_nothing():
    result = SegmentationResult(SemanticMap(torch.randn(2, 4, 4)))
    assert resize_result(result, (4, 4)).semantic is result.semantic
