"""Non-maximum suppression is that of a plain loop, and of OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from freeseg.ops import nms, nms_by_class


def random_boxes(seed: int, count: int = 60) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 60, (count, 2), generator=generator).float()
    sizes = torch.randint(1, 40, (count, 2), generator=generator).float()
    scores = torch.randint(0, 30, (count,), generator=generator) / 30  # with ties
    return torch.cat([corners, corners + sizes], 1), scores, torch.arange(count) % 3


def overlap(one, other) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    inside = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return inside / (sum(areas) - inside)


def by_hand(boxes, scores, labels, limit) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        rivals = [other for other in kept if labels[other] == labels[index]]
        if all(overlap(boxes[other], boxes[index]) <= limit for other in rivals):
            kept.append(index)
    return kept


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [0.0, 0.3, 0.5, 1.0])
def test_it_keeps_what_a_loop_keeps(seed, limit):
    boxes, scores, labels = random_boxes(seed)
    plain = (boxes.tolist(), scores.tolist())
    assert nms(boxes, scores, limit).tolist() == by_hand(*plain, [0] * 60, limit)
    by_class = nms_by_class(boxes, scores, labels, limit).tolist()
    assert by_class == by_hand(*plain, labels.tolist(), limit)


def test_it_keeps_what_opencv_keeps():
    boxes, _, _ = random_boxes(7)
    scores = torch.randperm(60, generator=torch.Generator().manual_seed(7)) / 60 + 0.01
    sized = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    expected = cv2.dnn.NMSBoxes(sized.numpy(), scores.numpy(), 0.0, 0.45)
    assert nms(boxes, scores, 0.45).tolist() == np.asarray(expected).flatten().tolist()


def test_an_overlap_of_exactly_the_limit_is_kept_and_more_is_not():
    boxes = torch.tensor([[0.0, 0, 4, 2], [0, 0, 2, 2], [2, 0, 5, 2]])  # overlaps 1/2 and 2/5
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(boxes, scores, 0.5).tolist() == [0, 1, 2]
    assert nms(boxes, scores, 0.499).tolist() == [0, 2]
    assert nms(boxes, scores, 0.399).tolist() == [0]


def test_equal_boxes_keep_the_first_and_boxes_without_area_stay():
    boxes = torch.tensor([[1.0, 1, 3, 3], [1, 1, 3, 3], [2, 2, 2, 2], [2, 2, 2, 2]])
    assert nms(boxes, torch.full((4,), 0.5), 0.5).tolist() == [0, 2, 3]


def test_nothing_gives_nothing_and_shapes_are_checked():
    empty = torch.zeros(0, 4)
    assert nms(empty, torch.zeros(0), 0.5).tolist() == []
    none = nms_by_class(empty, torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.5)
    assert none.tolist() == []
    assert none.dtype == nms(empty, torch.zeros(0), 0.5).dtype == torch.int64
    with pytest.raises(ValueError, match=r"got \(2, 4\), \(3,\)"):
        nms(torch.zeros(2, 4), torch.zeros(3), 0.5)
