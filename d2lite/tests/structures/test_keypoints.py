import numpy as np
import pytest
import torch

from detectron2.structures import Keypoints, heatmaps_to_keypoints


def test_container():
    points = torch.tensor([[[1.0, 2, 2], [0, 0, 0]], [[3, 4, 1], [5, 6, 2]]])
    keypoints = Keypoints(points.numpy())
    assert torch.equal(keypoints.tensor, points)
    assert torch.equal(keypoints[1:].tensor, points[1:])
    assert torch.equal(keypoints[torch.tensor([True, False])].tensor, points[:1])
    assert torch.equal(Keypoints.cat([keypoints, keypoints[:1]]).tensor, points[[0, 1, 0]])
    assert len(keypoints) == 2
    with pytest.raises(AssertionError):
        Keypoints(np.zeros((2, 3)))


def test_heatmap_cells_by_definition():
    box = torch.tensor([[10.0, 20, 30, 60]])
    points = [  # x, y, visibility -> cell x, cell y, counts
        ((10, 20, 2), (0, 0, 1)),
        ((19.9, 39, 1), (4, 4, 1)),
        ((30, 60, 2), (9, 9, 1)),  # the far corner belongs to the last cell
        ((31, 40, 2), None),
        ((15, 19, 2), None),
        ((15, 30, 0), None),
    ]
    keypoints = Keypoints([[list(point) for point, _ in points]])
    cells, valid = keypoints.to_heatmap(box, 10)
    for i, (_, expected) in enumerate(points):
        wanted = (expected[1] * 10 + expected[0], expected[2]) if expected else (0, 0)
        assert (cells[0, i].item(), valid[0, i].item()) == wanted
    nothing = Keypoints(torch.zeros(0, 3, 3)).to_heatmap(torch.zeros(0, 4), 10)
    assert [part.numel() for part in nothing] == [0, 0]


def test_heatmap_peak_comes_back_as_the_point():
    maps = torch.full((2, 3, 8, 8), -5.0)
    boxes = torch.tensor([[10.0, 20, 26, 36], [0, 0, 8, 8]])
    peaks = [[(1, 2), (7, 7), (4, 0)], [(0, 0), (3, 5), (6, 1)]]  # cell x, y
    for i in range(2):
        for k, (x, y) in enumerate(peaks[i]):
            maps[i, k, y, x] = 9.0
    found = heatmaps_to_keypoints(maps, boxes)
    assert found.shape == (2, 3, 4)
    # the second box has the size of the map: exactly the centre of the cell, and the softmax
    for k, (x, y) in enumerate(peaks[1]):
        assert found[1, k, :2].tolist() == [x + 0.5, y + 0.5]
        assert found[1, k, 2] == 9.0
        softmax = maps[1, k].flatten().softmax(0).max()
        torch.testing.assert_close(found[1, k, 3], softmax)
    for k, (x, y) in enumerate(peaks[0]):  # two pixels per cell
        center = torch.tensor([10 + 2 * (x + 0.5), 20 + 2 * (y + 0.5)])
        assert (found[0, k, :2] - center).abs().max() <= 1
