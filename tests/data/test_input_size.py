"""Test images are resized as INPUT says, and it can be said in words."""

from __future__ import annotations

import numpy as np
import pytest

from detectron2.config import get_cfg
from detectron2.data import transforms as T
from freeseg import add_freeseg_config
from freeseg.data.input_size import InputSize, build_resize


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
