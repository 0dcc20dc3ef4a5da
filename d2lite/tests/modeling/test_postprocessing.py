"""Model outputs at the size the caller asked for."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import Boxes, Instances


def detections():
    instances = Instances((20, 40))
    instances.pred_boxes = Boxes(
        torch.tensor([[4.0, 2, 8, 10], [5, 5, 5, 9], [30, 10, 60, 30], [-9, -9, -1, -1]])
    )
    instances.scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    return instances


def test_padding_does_not_change_the_semantic_scores():
    scores = torch.rand(3, 12, 16)
    inside = sem_seg_postprocess(F.pad(scores, (0, 9, 0, 5), value=7.0), (12, 16), 24, 40)
    expected = F.interpolate(scores[None], size=(24, 40), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(inside, expected)


def test_semantic_scores_of_the_same_size_are_unchanged():
    scores = torch.rand(3, 12, 16)
    torch.testing.assert_close(sem_seg_postprocess(scores, (12, 16), 12, 16), scores)
