import numpy as np
import pytest
import torch

from detectron2.structures import Keypoints


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
