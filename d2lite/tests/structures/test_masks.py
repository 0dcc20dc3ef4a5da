import numpy as np
import pytest
import torch

from detectron2.structures import BitMasks, Boxes, PolygonMasks, polygons_to_bitmask
from detectron2.structures.masks import polygon_area

SQUARE = [2.0, 1, 6, 1, 6, 5, 2, 5]
TRIANGLE = [10.0, 10, 18, 10, 10, 18]


def test_bitmasks_selection():
    tensor = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0)) > 0.5
    masks = BitMasks(tensor)
    assert len(masks) == 4
    assert tuple(masks.image_size) == (5, 6)
    assert torch.equal(masks[1].tensor, tensor[1:2])
    assert torch.equal(masks[1:3].tensor, tensor[1:3])
    index = torch.tensor([True, False, True, False])
    assert torch.equal(masks[index].tensor, tensor[index])
    with pytest.raises(AssertionError):
        masks[torch.tensor(0)]
    assert [torch.equal(a, b) for a, b in zip(masks, tensor)] == [True] * 4
    assert torch.equal(BitMasks.cat([masks, masks[:1]]).tensor, torch.cat([tensor, tensor[:1]]))
    assert BitMasks(tensor.numpy()).tensor.dtype == torch.bool
    assert BitMasks(tensor.float() * 3).tensor.equal(tensor)
    with pytest.raises(AssertionError):
        BitMasks(torch.ones(5, 6))
    assert masks.to("cpu").device.type == "cpu"


def test_bitmasks_boxes_equal_numpy_search():
    masks = torch.rand(30, 12, 17, generator=torch.Generator().manual_seed(1)) > 0.97
    masks[3] = False
    boxes = BitMasks(masks).get_bounding_boxes()
    assert isinstance(boxes, Boxes)
    for mask, box in zip(masks.numpy(), boxes.tensor.tolist()):
        rows, columns = np.nonzero(mask)
        expected = [0.0] * 4
        if len(rows):
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box == [float(v) for v in expected]
    assert BitMasks(masks).nonempty().tolist() == masks.flatten(1).any(1).tolist()
    assert len(BitMasks(torch.zeros(0, 3, 3)).get_bounding_boxes()) == 0


def test_polygons_to_bitmask():
    mask = polygons_to_bitmask([np.array(SQUARE)], 8, 9)
    expected = np.zeros((8, 9), dtype=bool)
    expected[1:5, 2:6] = True
    np.testing.assert_array_equal(mask, expected)
    both = polygons_to_bitmask([np.array(SQUARE), np.array(SQUARE) + 1], 8, 9)
    np.testing.assert_array_equal(both, expected | np.roll(expected, (1, 1), (0, 1)))
    empty = polygons_to_bitmask([], 3, 4)
    assert empty.shape == (3, 4)
    assert not empty.any()


def test_bitmasks_from_polygons():
    polygons = [[np.array(SQUARE)], [np.array(TRIANGLE), np.array(SQUARE)]]
    expected = np.stack([polygons_to_bitmask(p, 20, 22) for p in polygons])
    for source in (polygons, PolygonMasks(polygons)):
        np.testing.assert_array_equal(BitMasks.from_polygon_masks(source, 20, 22).tensor, expected)
    assert BitMasks.from_polygon_masks([], 20, 22).tensor.shape == (0, 20, 22)


def test_polygon_masks():
    masks = PolygonMasks([[SQUARE], [TRIANGLE, SQUARE], []])
    assert len(masks) == 3
    assert masks.nonempty().tolist() == [True, True, False]
    np.testing.assert_allclose(masks.area(), [16, 48, 0])
    assert masks[:2].get_bounding_boxes().tensor.tolist() == [[2, 1, 6, 5], [2, 1, 18, 18]]
    assert masks.polygons[0][0].dtype == np.float64
    assert masks.to("meta") is masks
    assert masks.device.type == "cpu"
    assert len(list(masks)[1]) == 2


def test_polygon_masks_selection():
    masks = PolygonMasks([[SQUARE], [TRIANGLE], [SQUARE, TRIANGLE]])
    for index, expected in [
        (1, [1]),
        (slice(0, 2), [0, 1]),
        ([2, 0], [2, 0]),
        (torch.tensor([2, 1]), [2, 1]),
        (torch.tensor([True, False, True]), [0, 2]),
    ]:
        selected = masks[index]
        counts = [[p.tolist() for p in instance] for instance in selected]
        assert counts == [[p.tolist() for p in masks.polygons[i]] for i in expected]
    with pytest.raises(ValueError, match="dtype"):
        masks[torch.tensor([1.0])]
    assert len(PolygonMasks.cat([masks, masks[1]])) == 4


@pytest.mark.parametrize("bad", [[[[1, 2, 3, 4]]], [[[1, 2, 3, 4, 5, 6, 7]]]])
def test_bad_polygons(bad):
    with pytest.raises(ValueError, match="Cannot create a polygon"):
        PolygonMasks(bad)
    with pytest.raises(ValueError, match="PolygonMasks"):
        PolygonMasks(np.zeros((1, 1, 6)))
    with pytest.raises(ValueError, match="list of polygons per instance"):
        PolygonMasks([np.zeros((1, 6))])


def test_polygon_area_is_the_shoelace_formula():
    assert polygon_area(np.array(SQUARE[::2]), np.array(SQUARE[1::2])) == 16
    assert polygon_area(np.array(TRIANGLE[::-2]), np.array(TRIANGLE[-2::-2])) == 32
