"""Results at another size."""

from __future__ import annotations

import torch

from freeseg.inference import mask_boxes, resize_result
from freeseg.structures import InstanceSet, PanopticMap, Segment, SegmentationResult


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


def test_masks_and_boxes_grow_together_and_scores_are_interpolated():
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 1:3, 2:] = True
    instances = InstanceSet(masks, mask_boxes(masks), torch.tensor([5]), torch.tensor([0.5]))
    result = SegmentationResult(torch.ones(2, 4, 4), instances)
    found = resize_result(result, (8, 12))
    assert found.instances.boxes.tolist() == [[6, 2, 12, 6]]
    assert found.instances.labels.tolist() == [5]
    assert torch.equal(found.semantic, torch.ones(2, 8, 12))
    none = InstanceSet(masks[:0], masks.new_zeros(0, 4), masks.new_zeros(0), masks.new_zeros(0))
    assert resize_result(SegmentationResult(None, none), (8, 8)).instances.masks.shape == (0, 8, 8)


def test_the_same_size_changes_nothing():
    result = SegmentationResult(torch.randn(2, 4, 4))
    assert resize_result(result, (4, 4)).semantic is result.semantic
