import cv2
import numpy as np
import pytest
import torch

from detectron2.structures import Boxes, RotatedBoxes, pairwise_iou, pairwise_iou_rotated


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 5, generator=generator) * torch.tensor([40, 40, 40, 40, 720])
    boxes[:, 2:4] += 1
    boxes[::5, 4] = 90
    return boxes


def corners(box):
    """Corners by the definition: upright about the centre, then turned counter-clockwise."""
    x, y, width, height, angle = box.double().tolist()
    points = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2]
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (points @ rotation.T + [x, y]).astype(np.float32)


def opencv_iou(box1, box2):
    overlap, _ = cv2.intersectConvexConvex(corners(box1), corners(box2))
    area1, area2 = float(box1[2] * box1[3]), float(box2[2] * box2[3])
    return overlap / (area1 + area2 - overlap)


def test_iou_equals_opencv_polygon_clipping():
    a, b = random_boxes(14, 0), random_boxes(9, 1)
    expected = [[opencv_iou(p, q) for q in b] for p in a]
    actual = pairwise_iou_rotated(RotatedBoxes(a), RotatedBoxes(b))
    np.testing.assert_allclose(actual, expected, atol=2e-5)
    assert (actual > 0.05).sum() > 20  # the comparison is about overlapping boxes


def test_iou_of_upright_boxes_equals_that_of_boxes():
    boxes = random_boxes(20, 2).round()
    boxes[:, 4] = 0
    start, size = boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, 2:4]
    upright = Boxes(torch.cat([start, start + size], 1))
    rotated = RotatedBoxes(boxes)
    torch.testing.assert_close(
        pairwise_iou_rotated(rotated, rotated), pairwise_iou(upright, upright), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("turn", [180, -180, 360, 720])
def test_same_area_after_a_turn(turn):
    boxes = random_boxes(10, 3)
    turned = boxes + torch.tensor([0, 0, 0, 0, turn])
    iou = pairwise_iou_rotated(RotatedBoxes(boxes), RotatedBoxes(turned))
    torch.testing.assert_close(iou.diag(), torch.ones(10), atol=3e-5, rtol=0)
    swapped = boxes[:, [0, 1, 3, 2, 4]] + torch.tensor([0, 0, 0, 0, 90])
    iou = pairwise_iou_rotated(RotatedBoxes(boxes), RotatedBoxes(swapped))
    torch.testing.assert_close(iou.diag(), torch.ones(10), atol=3e-5, rtol=0)


def test_iou_edge_cases():
    box = torch.tensor([[5.0, 5, 4, 2, 30]])
    far = torch.tensor([[1e17, 1e18, 1000, 1000, 1612]])
    flat = torch.tensor([[5.0, 5, 0, 2, 0]])
    touching = torch.tensor([[0.0, 0, 2, 2, 0], [2, 0, 2, 2, 0]])
    iou = lambda p, q: pairwise_iou_rotated(RotatedBoxes(p), RotatedBoxes(q))  # noqa: E731
    assert iou(box, far).item() == 0
    assert iou(flat, flat).item() == 0
    assert iou(box, flat).item() == 0
    assert iou(touching[:1], touching[1:]).item() == pytest.approx(0, abs=1e-6)
    assert iou(torch.zeros(0, 5), box).shape == (0, 1)
    assert iou(box, torch.zeros(0, 5)).shape == (1, 0)


def test_clip_only_nearly_upright_boxes():
    boxes = RotatedBoxes(torch.tensor([[5.0, 5, 20, 4, 0.5], [5, 5, 20, 4, 45], [5, 5, 4, 4, 360]]))
    boxes.clip((8, 10))
    expected = [[5, 5, 10, 4, 0.5], [5, 5, 20, 4, 45], [5, 5, 4, 4, 0]]
    torch.testing.assert_close(boxes.tensor, torch.tensor(expected))


def test_geometry():
    boxes = RotatedBoxes(torch.tensor([[10.0, 10, 8, 2, 90], [10, 10, 8, 0.5, 540]]))
    assert boxes.area().tolist() == [16, 4]
    assert boxes.nonempty(1.0).tolist() == [True, False]
    assert boxes.get_centers().tolist() == [[10, 10], [10, 10]]
    assert boxes.inside_box((15, 11)).tolist() == [False, False]
    assert boxes.inside_box((15, 12)).tolist() == [True, False]
    boxes.normalize_angles()
    assert boxes.tensor[:, 4].tolist() == [90, -180]


def test_scale_keeps_the_lengths_of_the_scaled_sides():
    boxes = random_boxes(10, 5)
    scaled = RotatedBoxes(boxes.clone())
    scaled.scale(1.5, 0.5)
    for before, after in zip(boxes, scaled.tensor):
        a, b, c, _ = corners(before) * [1.5, 0.5]
        assert after[2].item() == pytest.approx(np.linalg.norm(b - a), rel=1e-4)
        assert after[3].item() == pytest.approx(np.linalg.norm(c - b), rel=1e-4)
        np.testing.assert_allclose(after[:2], before[:2] * torch.tensor([1.5, 0.5]))


def test_indexing_and_joining():
    tensor = random_boxes(4, 6)
    boxes = RotatedBoxes(tensor)
    assert isinstance(boxes, Boxes)
    assert torch.equal(boxes[1].tensor, tensor[1:2])
    assert torch.equal(boxes[torch.tensor([3, 0])].tensor, tensor[[3, 0]])
    joined = RotatedBoxes.cat([boxes, boxes[:1]])
    assert isinstance(joined, RotatedBoxes)
    assert len(joined) == 5
    assert RotatedBoxes(torch.zeros(0)).tensor.shape == (0, 5)
    with pytest.raises(AssertionError):
        RotatedBoxes(torch.ones(2, 4))
