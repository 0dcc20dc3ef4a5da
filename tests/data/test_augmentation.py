from __future__ import annotations

import colorsys
import random

import numpy as np
import pytest
from PIL import Image

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
    ("kind", "flipped"),
    [("none", None), ("horizontal", IMAGE[:, ::-1]), ("vertical", IMAGE[::-1])],
    ids=["none", "horizontal", "vertical"],
)
def test_flips_mirror_half_of_the_images(kind, flipped):
    np.random.seed(0)
    steps = T.AugmentationList(build_flip(kind))
    count = 0
    for _ in range(200):
        inputs = T.AugInput(IMAGE)
        steps(inputs)
        is_flipped = flipped is not None and np.array_equal(inputs.image, flipped)
        assert is_flipped or np.array_equal(inputs.image, IMAGE)
        count += is_flipped
    assert count == 0 if flipped is None else 70 < count < 130


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


def ramp(height: int, width: int) -> np.ndarray:
    """Three channels that rise along the width, the height, and both."""
    rows, columns = np.mgrid[:height, :width]
    channels = [columns * 4 + 7, rows * 6 + 3, rows * 2 + columns * 2]
    return np.stack(channels, -1).astype(np.uint8)


def augmented(steps, image, labels, count=300):
    """The images and labels of that many draws."""
    np.random.seed(0)
    results = []
    for _ in range(count):
        inputs = T.AugInput(image, sem_seg=labels)
        T.AugmentationList(steps.build())(inputs)
        results.append((inputs.image, inputs.sem_seg))
    return results


def check_resized(image, labels, found, found_labels) -> None:
    """Pixels are mixed as PIL's bilinear filter does, labels are some pixel's own."""
    size = found.shape[1::-1]
    wanted = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found, np.asarray(wanted))
    wanted = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    np.testing.assert_array_equal(found_labels, np.asarray(wanted))


RAMP, RAMP_LABELS = ramp(24, 36), np.arange(24 * 36).reshape(24, 36).astype(np.uint8)


def test_short_sides_of_a_choice_are_those_and_of_a_range_all_between():
    for sampling, sizes, wanted in (
        ("choice", [12, 15, 48], {12, 15, 48}),
        ("range", [12, 16], {12, 13, 14, 15, 16}),
    ):
        results = augmented(ShortSideCrop(sizes, 999, sampling), RAMP, RAMP_LABELS)
        assert {image.shape[:2] for image, _ in results} == {
            (side, int(side * 36 / 24 + 0.5)) for side in wanted
        }
        for image, labels in results[:9]:
            check_resized(RAMP, RAMP_LABELS, image, labels)


@pytest.mark.parametrize(("longest", "size"), [(48, (32, 48)), (47, (31, 47)), (49, (32, 48))])
def test_the_long_side_may_be_exactly_its_limit(longest, size):
    ((image, labels),) = augmented(ShortSideCrop([32], longest), RAMP, RAMP_LABELS, 1)
    assert image.shape[:2] == size
    check_resized(RAMP, RAMP_LABELS, image, labels)


def places(results) -> set[tuple[int, int]]:
    """Where windows of the unscaled ramp lie: its first two channels say it."""
    return {(int(image[0, 0, 1] - 3) // 6, int(image[0, 0, 0] - 7) // 4) for image, _ in results}


def test_crops_lie_everywhere_and_have_the_size_that_was_asked_for():
    results = augmented(ShortSideCrop([24], 36, "choice", "absolute", (20, 30)), RAMP, RAMP_LABELS)
    assert {image.shape for image, _ in results} == {(20, 30, 3)}
    assert places(results) == {(top, left) for top in range(5) for left in range(7)}
    for image, labels in results:
        ((top, left),) = places([(image, labels)])
        np.testing.assert_array_equal(image, RAMP[top : top + 20, left : left + 30])
        np.testing.assert_array_equal(labels, RAMP_LABELS[top : top + 20, left : left + 30])
    relative = ShortSideCrop([24], 36, "choice", "relative", (0.5, 0.25))
    assert {image.shape for image, _ in augmented(relative, RAMP, RAMP_LABELS, 5)} == {(12, 9, 3)}
    whole = ShortSideCrop([24], 36, "choice", "", (20, 30), 0.5)
    assert {image.shape for image, _ in augmented(whole, RAMP, RAMP_LABELS, 5)} == {(24, 36, 3)}


def classes(steps) -> list[str]:
    return [type(step).__name__ for step in steps]


@pytest.mark.parametrize(("share", "is_limited"), [(0.999, True), (1.0, False)])
def test_one_class_is_limited_where_it_may_not_fill_all(share, is_limited):
    steps = ShortSideCrop([24], 36, "choice", "absolute", (20, 30), share, 7).build()
    wanted = "RandomCrop_CategoryAreaConstraint" if is_limited else "RandomCrop"
    assert classes(steps) == ["ResizeShortestEdge", wanted]
    assert (
        classes(ShortSideCrop([24], 36, "choice", "absolute", (20, 30)).build())[1] == "RandomCrop"
    )
    usual = ShortSideCrop([24], 36, "choice", "absolute", (20, 30), 0.5).build()[1]
    assert usual.ignored_category == 255
    if is_limited:
        assert (steps[1].single_category_max_area, steps[1].ignored_category) == (0.999, 7)


def test_what_is_ignored_is_no_second_class():
    """Void, and another class, on two rows of many: windows must show them where void is none."""
    labels = np.full((24, 36), 9, np.uint8)
    labels[:, :18] = 7
    labels[11:13] = 4
    for ignored, low, high in ((7, 0.8, 1.0), (255, 0.0, 0.5)):
        steps = ShortSideCrop([24], 36, "choice", "absolute", (4, 24), 0.95, ignored)
        found = augmented(steps, RAMP, labels, 60)
        assert low <= np.mean([(window == 4).any() for _, window in found]) <= high


def test_jitter_scales_the_base_between_both_ends():
    """The window is larger than any image, so all of it is seen, padded at the right and bottom."""
    jitter = LargeScaleJitter(64, 0.25, 1.5, base_size=32)
    sizes = set()
    for image, labels in augmented(jitter, RAMP, RAMP_LABELS, 400):
        assert image.shape == (64, 64, 3)
        is_seen = (image != 128).any(-1) | (labels != 255)
        height, width = is_seen.any(1).sum(), is_seen.any(0).sum()
        sizes.add(int(width))
        check_resized(RAMP, RAMP_LABELS, image[:height, :width], labels[:height, :width])
        assert (image[height:] == 128).all()
        assert (image[:, width:] == 128).all()
        assert (labels[height:] == 255).all()
        assert (labels[:, width:] == 255).all()
    assert sizes == set(range(8, 49)), "the long side is 0.25 to 1.5 times 32"


def test_jitter_is_of_the_window_where_no_base_is_given_and_as_published():
    jitter, same = LargeScaleJitter(24), LargeScaleJitter(24, 0.1, 2.0, 24)
    for steps, others in zip(jitter.build(), same.build()):
        assert vars(steps) == vars(others)
    assert (jitter.build()[0].target_height, jitter.build()[0].target_width) == (24, 24)
    assert jitter.build()[1].crop_size == (24, 24)


def test_each_colour_change_is_that_of_pythons_own_colorsys():
    """Within what OpenCV's bytes of hue, saturation and value can say."""
    change = ColorSSDTransform(is_rgb=True, saturation=0.6, hue=17)
    found = change.apply_image(IMAGE).astype(int)
    for place in [(0, 0), (3, 30), (12, 5), (23, 35)]:
        hue, saturation, value = colorsys.rgb_to_hsv(*(IMAGE[place] / 255).tolist())
        wanted = colorsys.hsv_to_rgb((hue + 34 / 360) % 1, saturation * 0.6, value)
        np.testing.assert_allclose(found[place], np.array(wanted) * 255, atol=5)


@pytest.mark.parametrize("number", [-3.0, -1.0, 1.0, 2.0, 40.0])
def test_whole_steps_of_brightness_are_added(number):
    found = ColorSSDTransform(True, brightness=number).apply_image(IMAGE)
    np.testing.assert_array_equal(found, np.clip(IMAGE.astype(int) + int(number), 0, 255))


def test_twice_the_contrast_or_the_saturation_is_a_change():
    found = ColorSSDTransform(True, contrast=2.0).apply_image(IMAGE)
    np.testing.assert_array_equal(found, np.minimum(IMAGE.astype(int) * 2, 255))
    pale = (IMAGE // 2 + 100).astype(np.uint8)
    vivid = ColorSSDTransform(True, saturation=2.0).apply_image(pale).astype(int)
    assert (np.ptp(vivid, axis=2) - np.ptp(pale.astype(int), axis=2)).min() >= -3
    assert np.ptp(vivid, axis=2).mean() > 1.5 * np.ptp(pale, axis=2).mean()


def test_contrast_comes_before_or_after_the_other_changes():
    numbers = {"brightness": 11.0, "contrast": 1.4}
    hsv = {"saturation": 0.5, "hue": -9}
    bright = ColorSSDTransform(True, brightness=11.0).apply_image(IMAGE)
    contrast, colour = ColorSSDTransform(True, contrast=1.4), ColorSSDTransform(True, **hsv)
    first = ColorSSDTransform(True, **numbers, **hsv).apply_image(IMAGE)
    np.testing.assert_array_equal(first, colour.apply_image(contrast.apply_image(bright)))
    last = ColorSSDTransform(True, **numbers, **hsv, contrast_first=False).apply_image(IMAGE)
    np.testing.assert_array_equal(last, contrast.apply_image(colour.apply_image(bright)))
    assert not np.array_equal(first, last)


def test_one_of_hue_and_saturation_is_a_change():
    pale = ColorSSDTransform(True, saturation=0.5).apply_image(IMAGE)
    turned = ColorSSDTransform(True, hue=5).apply_image(IMAGE)
    assert not np.array_equal(pale, IMAGE)
    assert not np.array_equal(turned, IMAGE)


def test_colours_leave_places_and_have_no_way_back():
    points = np.array([[1.5, 2.0], [30.0, 7.25]])
    change = ColorSSDTransform(True, brightness=30.0)
    np.testing.assert_array_equal(change.apply_coords(points.copy()), points)
    np.testing.assert_array_equal(change.inverse().apply_image(IMAGE), IMAGE)
