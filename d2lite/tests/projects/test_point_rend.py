"""Point sampling, the SSD colours and the config of PointRend."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
import torch

from detectron2.config import get_cfg
from detectron2.projects.point_rend import ColorAugSSDTransform, add_pointrend_config
from detectron2.projects.point_rend.point_features import (
    generate_regular_grid_point_coords,
    get_point_coords_wrt_image,
    get_uncertain_point_coords_on_grid,
    get_uncertain_point_coords_with_randomness,
    point_sample,
    point_sample_fine_grained_features,
    sample_point_labels,
)
from detectron2.structures import BitMasks, Boxes, Instances


def test_sampling_at_pixel_centres_gives_the_pixels():
    maps = torch.rand(2, 3, 4, 5)
    y, x = torch.meshgrid(torch.arange(4), torch.arange(5), indexing="ij")
    centres = torch.stack([(x + 0.5) / 5, (y + 0.5) / 4], dim=-1)[None].repeat(2, 1, 1, 1)
    torch.testing.assert_close(point_sample(maps, centres, align_corners=False), maps)
    as_list = point_sample(maps, centres.flatten(1, 2), align_corners=False)
    torch.testing.assert_close(as_list, maps.flatten(2))


def test_sampling_between_two_pixels_gives_their_mean():
    maps = torch.tensor([[[[1.0, 3.0]]]])
    assert point_sample(maps, torch.tensor([[[0.5, 0.5]]]), align_corners=False).item() == 2.0


def test_regular_grid():
    grid = generate_regular_grid_point_coords(3, 2, "cpu")
    assert grid.shape == (3, 4, 2)
    assert grid[1].tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_uncertain_points_lie_where_the_logits_cross_zero():
    torch.manual_seed(0)
    ramp = torch.linspace(-10, 10, 64).view(1, 1, 1, 64).repeat(2, 1, 64, 1)
    points = get_uncertain_point_coords_with_randomness(
        ramp, lambda logits: -logits.abs(), 100, 3, 0.75
    )
    assert points.shape == (2, 100, 2)
    assert points.min() >= 0
    assert points.max() <= 1
    distance = (points[..., 0] - 0.5).abs()
    # 75 of 300 uniform candidates are nearest to the middle: within about an eighth of it.
    assert distance[:, :75].max() < 0.2
    assert distance[:, 75:].max() > 0.3


def test_all_points_random_or_all_uncertain():
    logits = torch.randn(1, 1, 8, 8)
    for ratio in (0.0, 1.0):
        points = get_uncertain_point_coords_with_randomness(
            logits, lambda x: -x.abs(), 10, 2, ratio
        )
        assert points.shape == (1, 10, 2)


@pytest.mark.parametrize(("oversample", "importance"), [(0.5, 0.5), (3, 1.5), (3, -0.1)])
def test_impossible_ratios_are_refused(oversample, importance):
    with pytest.raises(AssertionError):
        get_uncertain_point_coords_with_randomness(
            torch.zeros(1, 1, 2, 2), lambda x: x, 4, oversample, importance
        )


def test_most_uncertain_cells():
    uncertainty = torch.zeros(1, 1, 3, 4)
    uncertainty[0, 0, 2, 1], uncertainty[0, 0, 0, 3] = 2.0, 1.0
    indices, coords = get_uncertain_point_coords_on_grid(uncertainty, 2)
    assert indices.tolist() == [[9, 3]]
    expected = torch.tensor([[[1.5 / 4, 2.5 / 3], [3.5 / 4, 0.5 / 3]]])
    torch.testing.assert_close(coords, expected)
    assert get_uncertain_point_coords_on_grid(uncertainty, 99)[0].shape == (1, 12)


def test_points_of_boxes_in_the_image():
    boxes = torch.tensor([[10.0, 20, 30, 60]])
    points = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [0.5, 0.25]]])
    in_image = get_point_coords_wrt_image(boxes, points)
    assert in_image.tolist() == [[[10, 20], [30, 60], [20, 30]]]


def test_fine_features_are_read_at_the_image_position():
    """Maps that hold their own x and y coordinate give the coordinates of the points."""
    y, x = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    quarter = torch.stack([x, y])[None].repeat(2, 1, 1, 1) * 4
    boxes = [Boxes(torch.tensor([[8.0, 8, 24, 24]])), Boxes(torch.tensor([[16.0, 4, 40, 20]]))]
    points = torch.rand(2, 5, 2)
    features, in_image = point_sample_fine_grained_features([quarter], [0.25], boxes, points)
    assert features.shape == (2, 2, 5)
    torch.testing.assert_close(features.transpose(1, 2), in_image)


def test_labels_are_those_of_each_mask():
    left = torch.zeros(1, 4, 8, dtype=torch.bool)
    left[..., :4] = True
    images = []
    for masks in (torch.cat([left, ~left]), left[:0], left):
        instances = Instances((4, 8))
        instances.gt_masks = BitMasks(masks)
        images.append(instances)
    points = torch.tensor([[[1.5, 2.5], [6.5, 0.5]]]).repeat(3, 1, 1)
    assert sample_point_labels(images, points).tolist() == [[1, 0], [0, 1], [1, 0]]


IMAGE = np.random.RandomState(0).randint(0, 256, (16, 24, 3), dtype=np.uint8)


def only(transform, step, *args, **kwargs):
    """Run one of its steps until it does something."""
    for seed in range(50):
        random.seed(seed)
        result = getattr(transform, step)(IMAGE.copy())
        if not np.array_equal(result, IMAGE):
            return result.astype(int)
    raise AssertionError(f"{step} never changed the image")


def test_brightness_adds_one_number():
    changed = only(ColorAugSSDTransform("BGR"), "brightness")
    free = (changed > 0) & (changed < 255)
    difference = (changed - IMAGE)[free]
    assert difference.max() - difference.min() <= 1
    assert abs(difference).max() <= 33


def test_contrast_multiplies():
    changed = only(ColorAugSSDTransform("BGR"), "contrast")
    free = (changed < 255) & (IMAGE > 100)
    factors = changed[free] / IMAGE[free]
    assert factors.max() - factors.min() < 0.02


def test_hue_keeps_brightness():
    changed = only(ColorAugSSDTransform("BGR"), "hue").astype(np.uint8)
    value = [cv2.cvtColor(i, cv2.COLOR_BGR2HSV)[..., 2].astype(int) for i in (IMAGE, changed)]
    assert abs(value[0] - value[1]).max() <= 1


def test_saturation_keeps_grey():
    transform = ColorAugSSDTransform("BGR")
    grey = np.repeat(IMAGE[:, :, :1], 3, axis=2)
    for seed in range(8):
        random.seed(seed)
        assert np.array_equal(transform.saturation(grey.copy()), grey)


def test_same_seed_same_picture_and_rgb_is_bgr_reversed():
    bgr, rgb = ColorAugSSDTransform("BGR"), ColorAugSSDTransform("RGB")
    for seed in range(10):
        random.seed(seed)
        first = bgr.apply_image(IMAGE.copy())
        random.seed(seed)
        second = rgb.apply_image(IMAGE[:, :, ::-1].copy())
        assert np.array_equal(first, second[:, :, ::-1])
        assert first.dtype == np.uint8


def test_geometry_is_untouched():
    transform = ColorAugSSDTransform("RGB")
    coords = np.array([[1.0, 2.0]])
    assert transform.apply_coords(coords) is coords
    labels = np.zeros((2, 2))
    assert transform.apply_segmentation(labels) is labels


def test_unknown_format_is_refused():
    with pytest.raises(AssertionError):
        ColorAugSSDTransform("YUV")


def test_config():
    cfg = get_cfg()
    add_pointrend_config(cfg)
    assert cfg.INPUT.COLOR_AUG_SSD is False
    assert cfg.MODEL.POINT_HEAD.TRAIN_NUM_POINTS == 196
    assert cfg.MODEL.POINT_HEAD.IN_FEATURES == ("p2",)
    assert cfg.MODEL.IMPLICIT_POINTREND.PARAMS_L2_REGULARIZER == 1e-5
