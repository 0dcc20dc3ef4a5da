"""A 16-bit photo of a camera with fewer bits is told of, exactly at the limits of its bits."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from freeseg.data.photo_reader import read_photo

BRIGHTEST = {
    0: None, 1: 8, 255: 8, 256: 10, 1023: 10, 1024: 12, 4095: 12, 4096: 14, 16383: 14, 16384: None,
    65535: None,
}  # fmt: skip


def write(path, brightest: int):
    pixels = np.zeros((3, 5), np.uint16)
    pixels[1, 2] = brightest
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("brightest", "bits"), BRIGHTEST.items())
def test_the_brightest_pixel_tells_the_camera(tmp_path, caplog, brightest, bits):
    photo = write(tmp_path / "photo.png", brightest)
    with caplog.at_level(logging.WARNING):
        image = read_photo(photo)
    assert image.shape == (3, 5, 3)
    assert image[1, 2].tolist() == [round(brightest * 255 / 65535)] * 3
    lines = [line.getMessage() for line in caplog.records]
    assert len(lines) == (bits is not None)
    if bits is not None:
        (line,) = lines
        assert line.startswith(f"{photo}: the brightest of its 16-bit pixels is {brightest}, as of")
        assert f"a camera of {bits} bits" in line
        assert f"INPUT.WHITE_LEVEL {2**bits - 1} of" in line


def test_a_white_level_that_was_given_is_believed(tmp_path, caplog):
    photo = write(tmp_path / "photo.png", 1000)
    image = read_photo(photo, white_level=4095)
    assert image[1, 2].tolist() == [round(1000 * 255 / 4095)] * 3
    assert not caplog.records


def test_dark_photos_of_8_bits_are_dark(tmp_path, caplog):
    Image.new("RGB", (5, 3), (1, 2, 3)).save(tmp_path / "dark.png")
    assert read_photo(tmp_path / "dark.png")[0, 0].tolist() == [1, 2, 3]
    assert not caplog.records


def test_photos_of_more_pixels_than_the_limit_are_refused(tmp_path):
    photo = write(tmp_path / "photo.png", 9)
    assert read_photo(photo, max_pixels=15).shape == (3, 5, 3)
    with pytest.raises(ValueError, match="pixels"):
        read_photo(photo, max_pixels=14)
