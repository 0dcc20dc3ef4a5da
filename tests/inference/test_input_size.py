"""Test images are resized as INPUT says, and it can be said in words."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from detectron2.config import get_cfg
from detectron2.data import transforms as T
from freeseg import add_freeseg_config
from freeseg.inference.input_size import InputSize, build_resize


def config(*values: object):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_list(list(values))
    return cfg


def test_published_configurations_resize_as_detectron2_does():
    assert type(build_resize(config())) is T.ResizeShortestEdge
    size = InputSize.from_config(config())
    for height, width in ((480, 641), (641, 480), (333, 1001), (800, 800), (77, 1333)):
        expected = T.ResizeShortestEdge.get_output_shape(height, width, 800, 1333)
        assert size.of_image(height, width) == expected


@pytest.mark.parametrize(
    ("values", "words", "expected"),
    [
        ((), "shortest side 800, longest at most 1333, bilinear", (800, 1200)),
        (("INPUT.MIN_SIZE_TEST", 0), "as it is", (40, 60)),
        (("INPUT.TEST_RESIZE.LONG_SIDE", 90), "longest side 90, bilinear", (60, 90)),
        (("INPUT.TEST_RESIZE.LONG_SIDE", 33), "longest side 33, bilinear", (22, 33)),
        (
            ("INPUT.TEST_RESIZE.SIZE", [30, 50], "INPUT.TEST_RESIZE.FILTER", "box"),
            "30 high, 50 wide, box",
            (30, 50),
        ),
        (
            ("INPUT.MIN_SIZE_TEST", 50, "INPUT.TEST_RESIZE.DIVISOR", 32),
            "shortest side 50, longest at most 1333, stretched to multiples of 32, bilinear",
            (64, 96),
        ),
    ],
)
def test_sizes_and_how_they_are_said(values, words, expected):
    cfg = config(*values)
    assert str(InputSize.from_config(cfg)) == words
    inputs = T.AugInput(np.zeros((40, 60, 3), np.uint8))
    T.AugmentationList([build_resize(cfg)])(inputs)
    assert inputs.image.shape[:2] == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("INPUT.TEST_RESIZE.FILTER", "cubic"), "FILTER is one of nearest, .*, got 'cubic'"),
        (("INPUT.TEST_RESIZE.SIZE", [30]), r"SIZE is \[\] or height and width, got \[30\]"),
        (("INPUT.TEST_RESIZE.SIZE", [30, 0]), r"SIZE is \[\] or height and width"),
    ],
)
def test_what_is_no_size_is_said(values, message):
    with pytest.raises(ValueError, match=message):
        build_resize(config(*values))


PHOTO = np.random.default_rng(0).integers(0, 256, (40, 62, 3), dtype=np.uint8)


def resized(*values: object, image: np.ndarray = PHOTO) -> np.ndarray:
    inputs = T.AugInput(image)
    T.AugmentationList([build_resize(config(*values))])(inputs)
    return inputs.image


@pytest.mark.parametrize("name", [each.name for each in Image.Resampling])
@pytest.mark.parametrize("size", [(30, 90), (77, 31)])
def test_pixels_are_those_of_pils_filter(name, size):
    values = ("INPUT.TEST_RESIZE.SIZE", list(size), "INPUT.TEST_RESIZE.FILTER", name.lower())
    wanted = Image.fromarray(PHOTO).resize(size[::-1], Image.Resampling[name])
    np.testing.assert_array_equal(resized(*values), np.asarray(wanted))


KEYS = {  # a key, its value, and the size of an image of 40x62 with it
    "shortest": (("INPUT.MIN_SIZE_TEST", 20, "INPUT.MAX_SIZE_TEST", 100), (20, 31)),
    "longest": (("INPUT.MIN_SIZE_TEST", 80, "INPUT.MAX_SIZE_TEST", 93), (60, 93)),
    "longest exactly": (("INPUT.MIN_SIZE_TEST", 80, "INPUT.MAX_SIZE_TEST", 124), (80, 124)),
    "one less": (("INPUT.MIN_SIZE_TEST", 80, "INPUT.MAX_SIZE_TEST", 123), (79, 123)),
    "fixed": (("INPUT.TEST_RESIZE.SIZE", [21, 23]), (21, 23)),
    "one pixel": (("INPUT.TEST_RESIZE.SIZE", [1, 1]), (1, 1)),
    "fixed, on multiples": (
        ("INPUT.TEST_RESIZE.SIZE", [20, 21], "INPUT.TEST_RESIZE.DIVISOR", 10),
        (20, 30),
    ),
    "as it is, whatever the multiples": (
        ("INPUT.MIN_SIZE_TEST", 0, "INPUT.TEST_RESIZE.DIVISOR", 32),
        (40, 62),
    ),
    "long side": (("INPUT.TEST_RESIZE.LONG_SIDE", 31), (20, 31)),
    "long side, enlarged": (("INPUT.TEST_RESIZE.LONG_SIDE", 77), (50, 77)),
    "multiples of one": (("INPUT.MIN_SIZE_TEST", 41, "INPUT.TEST_RESIZE.DIVISOR", 1), (41, 64)),
    "multiples of two": (("INPUT.MIN_SIZE_TEST", 41, "INPUT.TEST_RESIZE.DIVISOR", 2), (42, 64)),
    "cut off": (("INPUT.MIN_SIZE_TEST", 41, "INPUT.TEST_RESIZE.ROUNDS_DOWN", True), (41, 63)),
}


@pytest.mark.parametrize(("values", "size"), KEYS.values(), ids=KEYS)
def test_every_key_acts(values, size):
    assert InputSize.from_config(config(*values)).of_image(40, 62) == size
    assert resized(*values).shape[:2] == size
    turned = InputSize.from_config(config(*values)).of_image(62, 40)
    assert turned == (size if "SIZE" in values[0].split(".") else size[::-1])


@pytest.mark.parametrize("height", [37, 64, 65, 480])
@pytest.mark.parametrize("width", [37, 64, 111, 641])
@pytest.mark.parametrize(("shortest", "longest"), [(64, 80), (51, 133), (65, 65)])
def test_sizes_that_are_cut_off_follow_from_exact_fractions(height, width, shortest, longest):
    """As transformers says it, in whole numbers where its floats are exact enough."""
    short, long = min(height, width), max(height, width)
    found = InputSize(shortest, longest, rounds_down=True).of_image(height, width)
    if long * shortest > longest * short:
        new_short = round(longest * short / long)
        new_long = int(longest * short / long * long / short)
        assert new_long in (longest - 1, longest)
    else:
        new_short, new_long = shortest, shortest * long // short
    if new_short == short:
        new_short, new_long = short, long
    assert found == ((new_long, new_short) if width < height else (new_short, new_long))


def test_an_image_of_the_right_size_is_left_alone():
    step = build_resize(config("INPUT.TEST_RESIZE.SIZE", [40, 62]))
    assert isinstance(step.get_transform(PHOTO), T.NoOpTransform)
    for other in ([40, 61], [41, 62]):
        step = build_resize(config("INPUT.TEST_RESIZE.SIZE", other))
        assert isinstance(step.get_transform(PHOTO), T.ResizeTransform)


DEFAULT = ("INPUT.TEST_RESIZE.FILTER", "bilinear")


@pytest.mark.parametrize(
    ("values", "is_plain"),
    [
        (DEFAULT, True),
        (("INPUT.TEST_RESIZE.FILTER", "BILINEAR"), True),
        (("INPUT.TEST_RESIZE.DIVISOR", 1), True),
        (("INPUT.TEST_RESIZE.DIVISOR", 2), False),
        (("INPUT.TEST_RESIZE.ROUNDS_DOWN", True), False),
        (("INPUT.TEST_RESIZE.AS_DETR", True), False),
        (("INPUT.TEST_RESIZE.SIZE", [9, 7]), False),
        (("INPUT.TEST_RESIZE.FILTER", "bicubic"), False),
    ],
)
def test_detectron2s_own_resizing_is_taken_where_nothing_else_is_asked_for(values, is_plain):
    """For what looks at the type of the augmentation."""
    assert (type(build_resize(config(*values))) is T.ResizeShortestEdge) == is_plain


def test_words_name_multiples_from_two_on():
    assert str(InputSize(7, 9, divisor=1)) == "shortest side 7, longest at most 9, bilinear"
    assert str(InputSize(7, 9, divisor=2)) == (
        "shortest side 7, longest at most 9, stretched to multiples of 2, bilinear"
    )
    assert str(InputSize(0, 9, fixed=(3, 4))) == "3 high, 4 wide, bilinear"
    assert str(InputSize(0, 9, divisor=4)) == "as it is"


@pytest.mark.parametrize("long_side", [16, 33, 160, 1024])
@pytest.mark.parametrize("long", [16, 40, 320, 641, 4000])
def test_the_side_beside_the_long_one_is_rounded_half_a_pixel_up(long_side, long):
    """In whole numbers: the floor of twice the fraction and one half."""
    size = InputSize(0, 0, long_side=long_side)
    for short in range(1, long + 1, max(1, long // 50)):
        expected = (2 * short * long_side + long) // (2 * long)
        assert size.of_image(short, long) == (expected, long_side)
        assert size.of_image(long, short) == (long_side, expected)
