from __future__ import annotations

import random

import numpy as np
import pytest

from detectron2.data import transforms as T
from freeseg.data.augmentation import (
    ColorSSDTransform,
    LargeScaleJitter,
    RandomColorSSD,
    ShortSideCrop,
    build_flip,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def test_neutral_colour_change_changes_nothing():
    assert np.array_equal(ColorSSDTransform(is_rgb=True).apply_image(IMAGE), IMAGE)


def test_brightness_and_contrast_are_affine_and_clipped():
    change = ColorSSDTransform(is_rgb=True, brightness=20, contrast=1.5)
    bright = np.clip(IMAGE.astype(np.float32) + 20, 0, 255).astype(np.uint8)
    expected = np.clip(bright.astype(np.float32) * 1.5, 0, 255).astype(np.uint8)
    assert np.array_equal(change.apply_image(IMAGE), expected)


def test_channel_order_does_not_matter():
    numbers = {"brightness": -9.0, "contrast": 0.8, "saturation": 1.4, "hue": 11}
    rgb = ColorSSDTransform(is_rgb=True, **numbers).apply_image(IMAGE)
    bgr = ColorSSDTransform(is_rgb=False, **numbers).apply_image(IMAGE[..., ::-1])
    assert np.array_equal(rgb, bgr[..., ::-1])


def test_a_hue_of_half_a_turn_makes_red_cyan():
    red = np.full((2, 2, 3), (200, 0, 0), dtype=np.uint8)
    assert ColorSSDTransform(is_rgb=True, hue=90).apply_image(red)[0, 0].tolist() == [0, 200, 200]


def test_zero_saturation_is_grey():
    grey = ColorSSDTransform(is_rgb=True, saturation=0.0).apply_image(IMAGE)
    assert np.ptp(grey.astype(int), axis=2).max() == 0


def test_numbers_are_drawn_in_the_published_ranges():
    random.seed(0)
    drawn = [RandomColorSSD("RGB").get_transform(IMAGE) for _ in range(400)]
    for name, neutral, low, high in [
        ("brightness", 0.0, -32, 32),
        ("contrast", 1.0, 0.5, 1.5),
        ("saturation", 1.0, 0.5, 1.5),
        ("hue", 0, -18, 18),
    ]:
        values = np.array([getattr(item, name) for item in drawn])
        assert low <= values.min() < values.max() <= high
        assert np.ptp(values) > 0.9 * (high - low)
        assert 0.4 < (values != neutral).mean() < 0.6, f"{name} is applied half of the time"
    assert 0.4 < np.mean([item.contrast_first for item in drawn]) < 0.6


def test_a_drawn_colour_change_can_be_replayed_and_leaves_labels():
    change = RandomColorSSD("RGB").get_transform(IMAGE)
    assert np.array_equal(change.apply_image(IMAGE), change.apply_image(IMAGE))
    assert change.apply_segmentation(IMAGE[..., 0]) is not None
    assert np.array_equal(change.apply_segmentation(IMAGE[..., 0]), IMAGE[..., 0])


def test_an_unknown_channel_order_is_refused():
    with pytest.raises(ValueError, match="RGB or BGR, got 'L'"):
        RandomColorSSD("L")


@pytest.mark.parametrize("seed", range(5))
def test_jitter_gives_a_square_padded_with_grey_and_void(seed):
    np.random.seed(seed)
    inputs = T.AugInput(IMAGE, sem_seg=np.zeros((24, 36), dtype=np.uint8))
    T.AugmentationList(LargeScaleJitter(32, 0.3, 0.6).build())(inputs)
    assert inputs.image.shape == (32, 32, 3)
    is_padding = inputs.sem_seg == 255
    assert is_padding.any()
    assert (inputs.image[is_padding] == 128).all()


@pytest.mark.parametrize(
    ("kind", "count"), [("none", 0), ("horizontal", 1), ("vertical", 1)], ids=str
)
def test_flips(kind, count):
    assert len(build_flip(kind)) == count


def test_an_unknown_flip_is_refused():
    with pytest.raises(ValueError, match="got 'diagonal'"):
        build_flip("diagonal")


def test_crops_avoid_a_class_that_fills_them():
    labels = np.zeros((64, 64), dtype=np.uint8)
    labels[:, 40:] = 1
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    steps = T.AugmentationList(
        ShortSideCrop([64], 64, "choice", "absolute", [24, 24], 0.75, 255).build()
    )
    mixed = 0
    for seed in range(20):
        np.random.seed(seed)
        inputs = T.AugInput(image, sem_seg=labels)
        steps(inputs)
        assert inputs.image.shape == (24, 24, 3)
        mixed += max(np.bincount(inputs.sem_seg.ravel())) < 0.75 * 24 * 24
    assert mixed >= 17, "ten tries of probability 1/4 fail in 6 of 100 cases"
