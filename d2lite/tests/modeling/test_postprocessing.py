"""Model outputs at the size the caller asked for."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from detectron2.modeling.postprocessing import detector_postprocess, sem_seg_postprocess
from detectron2.structures import Boxes, Instances


def detections():
    instances = Instances((20, 40))
    instances.pred_boxes = Boxes(
        torch.tensor([[4.0, 2, 8, 10], [5, 5, 5, 9], [30, 10, 60, 30], [-9, -9, -1, -1]])
    )
    instances.scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    return instances


def test_boxes_are_scaled_and_empty_ones_dropped():
    results = detector_postprocess(detections(), 20, 40)
    assert results.scores.tolist() == torch.tensor([0.9, 0.7]).tolist()
    assert results.pred_boxes.tensor.tolist() == [[4, 2, 8, 10], [30, 10, 40, 20]]


def test_height_and_width_scale_on_their_own():
    results = detector_postprocess(detections(), 40, 20)
    assert results.image_size == (40, 20)
    assert results.pred_boxes.tensor[0].tolist() == [2, 4, 4, 20]
    assert results.pred_boxes.tensor[1].tolist() == [15, 20, 20, 40]


def test_full_box_masks_fill_their_boxes():
    instances = detections()
    instances.pred_masks = torch.ones(4, 1, 7, 7)
    masks = detector_postprocess(instances, 40, 80).pred_masks
    assert masks.dtype == torch.bool
    assert masks.shape == (2, 40, 80)
    expected = torch.zeros(40, 80, dtype=torch.bool)
    expected[4:20, 8:16] = True
    assert torch.equal(masks[0], expected)


def test_mask_threshold():
    instances = detections()
    instances.pred_masks = torch.full((4, 1, 7, 7), 0.6)
    assert detector_postprocess(instances, 20, 40, mask_threshold=0.7).pred_masks.sum() == 0


def test_keypoints_are_scaled():
    instances = detections()
    instances.pred_keypoints = torch.tensor([[4.0, 2.0, 0.5]]).repeat(4, 1, 1)
    keypoints = detector_postprocess(instances, 40, 20).pred_keypoints
    assert keypoints[0].tolist() == [[2.0, 4.0, 0.5]]


def test_proposals_are_scaled_too():
    instances = Instances((20, 40))
    instances.proposal_boxes = Boxes(torch.tensor([[4.0, 2, 8, 10]]))
    assert detector_postprocess(instances, 10, 20).proposal_boxes.tensor.tolist() == [[2, 1, 4, 5]]


def test_padding_does_not_change_the_semantic_scores():
    scores = torch.rand(3, 12, 16)
    inside = sem_seg_postprocess(F.pad(scores, (0, 9, 0, 5), value=7.0), (12, 16), 24, 40)
    expected = F.interpolate(scores[None], size=(24, 40), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(inside, expected)


def test_semantic_scores_of_the_same_size_are_unchanged():
    scores = torch.rand(3, 12, 16)
    torch.testing.assert_close(sem_seg_postprocess(scores, (12, 16), 12, 16), scores)
