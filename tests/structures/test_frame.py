"""A frame leads to the model and back; padding is what is no photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from freeseg.structures import Frame


@st.composite
def frames(draw) -> Frame:
    height, width = draw(st.integers(2, 900)), draw(st.integers(2, 900))
    left, top = draw(st.integers(0, width - 2)), draw(st.integers(0, height - 2))
    right, bottom = draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))
    model = (draw(st.integers(1, 1100)), draw(st.integers(1, 1100)))
    padded = (model[0] + draw(st.integers(0, 40)), model[1] + draw(st.integers(0, 40)))
    return Frame((height, width), model, padded, (left, top, right, bottom))


@settings(max_examples=100, deadline=None)
@given(frames(), st.floats(0, 1), st.floats(0, 1))
def test_there_and_back_is_the_same_place(frame, x, y):
    height, width = frame.photo_size
    point = torch.tensor([[x * width, y * height]])
    there = frame.to_model(point)
    torch.testing.assert_close(frame.to_photo(there), point, rtol=0, atol=0.5)
    left, top, right, bottom = frame.window
    expected = [
        (x * width - left) * frame.model_size[1] / (right - left),
        (y * height - top) * frame.model_size[0] / (bottom - top),
    ]
    torch.testing.assert_close(there[0], torch.tensor(expected), rtol=1e-3, atol=1e-2)


def test_corners_of_the_window_are_those_of_the_model_and_boxes_are_two_points():
    frame = Frame((100, 200), (60, 90), (64, 96), (20, 10, 200, 70))
    box = torch.tensor([20.0, 10, 200, 70])
    assert frame.to_model(box).tolist() == [0, 0, 90, 60]
    assert frame.to_photo(torch.tensor([[0.0, 0, 90, 60]])).tolist() == [box.tolist()]
    assert frame.scale == (0.5, 1.0)


def test_a_pixel_lands_where_pillow_puts_it():
    photo = np.zeros((40, 60), np.uint8)
    photo[12, 30] = 255
    frame = Frame.of_whole((40, 60), (120, 90))
    resized = np.asarray(Image.fromarray(photo).resize((90, 120), Image.Resampling.BOX))
    rows, columns = np.nonzero(resized)
    centre = torch.tensor([columns.mean() + 0.5, rows.mean() + 0.5], dtype=torch.float32)
    torch.testing.assert_close(
        frame.to_model(torch.tensor([30.5, 12.5])), centre, atol=0.51, rtol=0
    )


def test_padding_is_where_no_photo_is():
    frame = Frame.of_whole((100, 200), (50, 100), (64, 128))
    padding = frame.padding()
    assert padding.shape == (64, 128)
    assert int((~padding).sum()) == 50 * 100
    assert not padding[:50, :100].any()
    maps = torch.arange(64 * 128).reshape(1, 64, 128)
    assert torch.equal(frame.without_padding(maps), maps[:, :50, :100])
    coarse = frame.padding((4, 8))  # cells of 16 pixels: centres 8, 24, 40, 56
    assert (~coarse).nonzero().amax(0).tolist() == [2, 5]
    whole = Frame.of_whole((30, 40))
    assert not whole.padding().any()
    assert whole.to_model(torch.tensor([3.0, 4.0])).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (((10, 20), (0, 5), (8, 8), (0, 0, 20, 10)), "must be positive"),
        (((10, 20), (9, 5), (8, 8), (0, 0, 20, 10)), r"\(9, 5\) does not fit into \(8, 8\)"),
        (((10, 20), (8, 8), (8, 8), (0, 0, 21, 10)), r"window \(0, 0, 21, 10\) is not in a photo"),
        (((10, 20), (8, 8), (8, 8), (5, 0, 5, 10)), "is not in a photo"),
        (((10, 20), (8, 8), (8, 8), (-1, 0, 5, 10)), "is not in a photo"),
    ],
)
def test_what_is_no_frame_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Frame(*fields)


def test_other_shapes_are_refused():
    frame = Frame.of_whole((10, 20))
    with pytest.raises(ValueError, match=r"got \(3, 3\)"):
        frame.to_model(torch.zeros(3, 3))
