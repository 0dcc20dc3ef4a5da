import math

import numpy as np
import pytest
import torch

from detectron2.structures import (
    Boxes,
    BoxMode,
    pairwise_ioa,
    pairwise_iou,
    pairwise_point_box_distance,
)
from detectron2.structures.boxes import matched_pairwise_iou, pairwise_intersection

XYXY, XYWH, XYWHA = BoxMode.XYXY_ABS, BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS
GRID = 12


def random_boxes(count, seed=0):
    """Boxes with integer corners inside the grid, so that counting cells is exact."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(0, GRID - 1, (count, 2), generator=generator)
    size = torch.randint(1, GRID, (count, 2), generator=generator)
    return torch.cat([start, torch.minimum(start + size, torch.tensor(GRID))], 1).float()


def cells(box):
    x0, y0, x1, y1 = (int(v) for v in box)
    grid = np.zeros((GRID, GRID), dtype=bool)
    grid[y0:y1, x0:x1] = True
    return grid


def test_overlaps_equal_counting_cells():
    a, b = random_boxes(15), random_boxes(11, seed=1)
    drawn_a, drawn_b = (np.stack([cells(box) for box in boxes]) for boxes in (a, b))
    both = (drawn_a[:, None] & drawn_b).sum((2, 3))
    either = (drawn_a[:, None] | drawn_b).sum((2, 3))
    area_b = drawn_b.sum((1, 2))
    np.testing.assert_array_equal(pairwise_intersection(Boxes(a), Boxes(b)), both)
    np.testing.assert_allclose(pairwise_iou(Boxes(a), Boxes(b)), both / either, rtol=1e-6)
    np.testing.assert_allclose(pairwise_ioa(Boxes(a), Boxes(b)), both / area_b, rtol=1e-6)
    matched = matched_pairwise_iou(Boxes(a[:11]), Boxes(b))
    np.testing.assert_allclose(matched, np.diag((both / either)[:11]), rtol=1e-6)
    with pytest.raises(AssertionError):
        matched_pairwise_iou(Boxes(a), Boxes(b))


def test_overlap_of_empty_boxes_is_zero_not_nan():
    point = Boxes(torch.tensor([[2.0, 2, 2, 2]]))
    assert pairwise_iou(point, point).item() == 0
    assert pairwise_ioa(point, point).item() == 0
    assert pairwise_iou(Boxes([]), point).shape == (0, 1)


def test_point_box_distance():
    distance = pairwise_point_box_distance(torch.tensor([[3.0, 4]]), Boxes([[1, 1, 9, 5]]))
    assert distance.tolist() == [[[2, 3, 6, 1]]]


def test_construction():
    assert Boxes([[1, 2, 3, 4]]).tensor.dtype == torch.float32
    assert Boxes(torch.ones(2, 4, dtype=torch.float64)).tensor.dtype == torch.float32
    assert Boxes(torch.zeros(0)).tensor.shape == (0, 4)
    for bad in (torch.ones(4), torch.ones(2, 5)):
        with pytest.raises(AssertionError):
            Boxes(bad)


def test_geometry():
    boxes = Boxes([[-5, 2, 30, 50], [3, 3, 3, 9], [1, 1, 4, 3]])
    assert boxes.area().tolist() == [35 * 48, 0, 6]
    assert boxes.nonempty().tolist() == [True, False, True]
    assert boxes.nonempty(2.0).tolist() == [True, False, False]
    assert boxes.get_centers().tolist() == [[12.5, 26], [3, 6], [2.5, 2]]
    assert boxes.inside_box((40, 20)).tolist() == [False, True, True]
    assert boxes.inside_box((41, 21), boundary_threshold=10).tolist() == [True, True, True]
    boxes.clip((40, 20))
    assert boxes.tensor.tolist() == [[0, 2, 20, 40], [3, 3, 3, 9], [1, 1, 4, 3]]
    boxes.scale(2, 0.5)
    assert boxes.tensor[0].tolist() == [0, 1, 40, 20]
    with pytest.raises(AssertionError, match="infinite or NaN"):
        Boxes([[0, 0, math.inf, 1]]).clip((5, 5))


def test_indexing_and_joining():
    tensor = random_boxes(5)
    boxes = Boxes(tensor)
    assert torch.equal(boxes[2].tensor, tensor[2:3])
    assert torch.equal(boxes[-1].tensor, tensor[-1:])
    assert torch.equal(boxes[1:3].tensor, tensor[1:3])
    assert torch.equal(boxes[torch.tensor([4, 0])].tensor, tensor[[4, 0]])
    assert torch.equal(boxes[tensor[:, 0] > 2].tensor, tensor[tensor[:, 0] > 2])
    with pytest.raises(AssertionError, match="failed to return a matrix"):
        boxes[torch.tensor(1)]
    assert [row.tolist() for row in boxes] == tensor.tolist()
    joined = Boxes.cat([boxes, boxes[:1]])
    assert len(joined) == 6
    joined.tensor[:] = 0
    assert torch.equal(boxes.tensor, tensor)
    assert len(Boxes.cat([])) == 0
    copy = boxes.clone()
    copy.tensor.zero_()
    assert torch.equal(boxes.tensor, tensor)
    assert boxes.to(torch.device("cpu")).device.type == "cpu"


@pytest.mark.parametrize(
    ("box", "source", "target", "expected"),
    [
        ([1, 2, 5, 9], XYXY, XYWH, [1, 2, 4, 7]),
        ([1.5, 2, 4, 7], XYWH, XYXY, [1.5, 2, 5.5, 9]),
        ([1.0, 2, 4, 8], XYWH, XYWHA, [3, 6, 4, 8, 0]),
        ([50.0, 50, 30, 20, 0], XYWHA, XYXY, [35, 40, 65, 60]),
        ([50.0, 50, 30, 20, 90], XYWHA, XYXY, [40, 35, 60, 65]),
        ([0.0, 0, 2, 2, 45], XYWHA, XYXY, [-(2**0.5), -(2**0.5), 2**0.5, 2**0.5]),
    ],
)
def test_box_mode_conversion_keeps_the_type(box, source, target, expected):
    for kind in (list, tuple):
        converted = BoxMode.convert(kind(box), source, target)
        assert type(converted) is kind
        assert converted == pytest.approx(expected)
    array = np.array([box, box], dtype=np.float64)
    before = array.copy()
    converted = BoxMode.convert(array, source, target)
    assert converted.dtype == np.float64
    np.testing.assert_allclose(converted, [expected, expected], atol=1e-6)
    np.testing.assert_array_equal(array, before)
    tensor = torch.tensor([box], dtype=torch.float32)
    assert BoxMode.convert(tensor, source, target)[0].tolist() == pytest.approx(expected)


def test_box_mode_errors():
    box = [1, 2, 3, 4]
    assert BoxMode.convert(box, XYXY, XYXY) is box
    with pytest.raises(AssertionError, match=r"[Rr]elative"):
        BoxMode.convert(box, XYXY, BoxMode.XYWH_REL)
    with pytest.raises(NotImplementedError):
        BoxMode.convert(box, XYXY, XYWHA)
    with pytest.raises(AssertionError):
        BoxMode.convert([1, 2, 3], XYXY, XYWH)
    with pytest.raises(AssertionError, match="must be 5"):
        BoxMode.convert(np.ones((1, 4)), XYWHA, XYXY)
    assert [int(mode) for mode in BoxMode] == [0, 1, 2, 3, 4]
