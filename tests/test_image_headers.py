"""What headers say is what decoding finds, and is found without decoding."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from freeseg.image_headers import camera_bits, read_header
from freeseg.images import deepest_value, read_image

sys.path.insert(0, str(Path(__file__).parent))
from turned_images import exif_of, png_with_exif

WIDE = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_sizes_of_both_frames_are_those_of_the_decoded_pictures(
    tmp_path: Path, kind: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo"
    Image.fromarray(WIDE).save(path, kind, exif=exif_of(orientation))
    sizes = [read_image(path, upright=upright).shape[:2] for upright in (True, False)]

    def refuse(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    header = read_header(path)
    assert [header.upright_size, header.stored_size] == sizes
    assert sizes[1] == (2, 5)
    assert header.orientation == orientation
    assert header.is_ambiguous == (orientation in (2, 3, 4))


@pytest.mark.parametrize("is_late", [False, True], ids=["before the pixels", "behind them"])
def test_exif_of_a_png_is_found_wherever_it_stands(tmp_path: Path, is_late: bool) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png_with_exif(WIDE, 8, is_late=is_late))
    header = read_header(path)
    assert header.orientation == 8
    assert read_image(path).shape[:2] == header.upright_size == (5, 2)


def test_a_square_that_exif_turns_is_ambiguous(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    for orientation in range(1, 9):
        Image.new("RGB", (4, 4)).save(path, exif=exif_of(orientation))
        assert read_header(path).is_ambiguous == (orientation != 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_what_cannot_be_read_is_upright_and_not_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("words")
    Image.fromarray(WIDE).save(tmp_path / "odd.png", exif=exif_of(9))
    broken = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"
    Image.fromarray(WIDE).save(tmp_path / "broken.png", exif=broken)
    for name in ("absent.jpg", "text.jpg", ""):
        assert read_header(tmp_path / name) is None
    for name in ("odd.png", "broken.png"):
        header = read_header(tmp_path / name)
        assert (header.stored_size, header.orientation) == ((2, 5), 1)
        assert not header.is_ambiguous


DEEP = np.array([[[3000, 20, 1], [7, 4001, 0]]], dtype=np.uint16)  # [1, 2, 3] in OpenCV's order


@pytest.mark.parametrize(
    ("suffix", "pixels", "brightest"),
    [
        (".png", DEEP, 4001),
        (".png", DEEP[..., 0], 3000),
        (".png", np.dstack([DEEP, np.full((1, 2), 65535, np.uint16)]), 4001),
        (".tiff", DEEP, 4001),
        (".tiff", DEEP[..., 0], 3000),
        (".ppm", DEEP, 4001),
        (".pgm", DEEP[..., 0], 3000),
        (".png", DEEP.astype(np.uint8), None),
        (".jpg", DEEP.astype(np.uint8), None),
    ],
    ids=["png", "grey", "alpha", "tiff", "grey-tiff", "ppm", "pgm", "8-bit", "jpeg"],
)
def test_the_brightest_value_is_that_of_the_16_bits(
    tmp_path: Path, suffix: str, pixels: np.ndarray, brightest: int | None
) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    assert deepest_value(path) == deepest_value(path.read_bytes()) == brightest
    assert read_header(path).is_deep == (brightest is not None)


def test_arrays_have_a_brightest_value_if_they_have_16_bits() -> None:
    assert deepest_value(DEEP) == 4001
    assert deepest_value(DEEP.astype(">u2")) == 4001
    assert deepest_value(np.dstack([DEEP[..., 0], [[65535, 9]]]).astype(np.uint16)) == 3000
    assert deepest_value(DEEP.astype(np.uint8)) is None
    assert deepest_value(Image.fromarray(DEEP[..., 0])) == 3000
    assert deepest_value(b"no image") is None


def test_bits_of_a_camera_hold_its_brightest_value() -> None:
    whites = {2**bits - 1: bits for bits in (8, 10, 12, 14)}
    assert {white: camera_bits(white) for white in whites} == whites
    assert [camera_bits(white + 1) for white in whites] == [10, 12, 14, None]
    assert camera_bits(0) is None


def test_a_file_that_states_its_white_level_is_scaled_by_it() -> None:
    content = b"P5 2 1 1000\n" + struct.pack(">2H", 1000, 500)
    for white_level in (65535, 4095):
        picture = read_image(io.BytesIO(content), white_level=white_level)
        assert picture[..., 0].tolist() == [[255, 128]]
    assert deepest_value(content) is None
