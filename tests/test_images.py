"""Every kind of picture becomes the same upright RGB array, every broken one a clear line."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from freeseg.images import (
    ImageError,
    describe_source,
    file_name_of,
    load_source,
    read_image,
)

sys.path.insert(0, str(Path(__file__).parent))
from turned_images import deep_tiff, png_with_exif

COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 150, 100], [255, 255, 255]]],
    dtype=np.uint8,
)  # [2, 3, 3], no symmetry


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def png() -> bytes:
    return encode(Image.fromarray(COLOURS), "PNG")


def test_every_source_of_one_picture_gives_the_same_array(png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "grün 猫.png"
    path.write_bytes(png)
    sources = [path, str(path), png, bytearray(png), io.BytesIO(png), Image.open(path), COLOURS]
    with path.open("rb") as opened:
        pictures = [read_image(source) for source in (*sources, opened)]
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
        np.testing.assert_array_equal(picture, COLOURS)


def test_the_caller_s_array_is_not_shared() -> None:
    source = COLOURS.copy()
    read_image(source)[:] = 0
    np.testing.assert_array_equal(source, COLOURS)


# What a viewer shows for a stored picture with each EXIF orientation (EXIF 2.3, tag 274).
ORIENTATIONS = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(Image.fromarray(COLOURS), kind, exif=exif, **options)
    np.testing.assert_array_equal(read_image(content), ORIENTATIONS[orientation](COLOURS))


def test_the_array_equals_the_evaluation_path_s_reader(tmp_path: Path) -> None:
    from detectron2.data.detection_utils import read_image as dataset_reader

    exif = Image.Exif()
    exif[274] = 6
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for mode in ("RGB", "L", "P", "CMYK"):
        kind = "PNG" if mode == "P" else "JPEG"
        path = tmp_path / f"{mode}.{kind.lower()}"
        Image.fromarray(noise).convert(mode).save(path, kind, exif=exif)
        np.testing.assert_array_equal(read_image(path), dataset_reader(str(path), format="RGB"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_unreadable_exif_does_not_cost_the_picture() -> None:
    content = encode(Image.fromarray(COLOURS), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")
    np.testing.assert_array_equal(read_image(content), COLOURS)


def test_grey_becomes_three_equal_channels() -> None:
    grey = np.array([[0, 128, 255]], dtype=np.uint8)
    expected = np.repeat(grey[:, :, None], 3, axis=2)
    for source in (grey, grey[:, :, None], encode(Image.fromarray(grey), "PNG")):
        np.testing.assert_array_equal(read_image(source), expected)


def test_one_bit_pictures_are_black_and_white() -> None:
    bits = np.array([[True, False]])
    expected = [[[255] * 3, [0] * 3]]
    for source in (
        bits,
        encode(Image.fromarray(bits), "PNG"),
        encode(Image.fromarray(bits), "BMP"),
    ):
        np.testing.assert_array_equal(read_image(source), expected)


@pytest.mark.parametrize("as_file", [False, True], ids=["array", "png"])
def test_transparency_is_seen_on_white(as_file: bool) -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    source = encode(Image.fromarray(rgba), "PNG") if as_file else rgba
    # 51/255 of black on white: 255 * 0.8 = 204
    expected = [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]
    np.testing.assert_array_equal(read_image(source), expected)


@pytest.mark.parametrize("as_file", [False, True], ids=["array", "png"])
def test_grey_with_alpha_is_seen_on_white(as_file: bool) -> None:
    grey_alpha = np.array([[[40, 255], [40, 0]]], dtype=np.uint8)
    source = encode(Image.fromarray(grey_alpha), "PNG") if as_file else grey_alpha
    np.testing.assert_array_equal(read_image(source), [[[40] * 3, [255] * 3]])


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_rare_alpha_modes_are_seen_on_white(mode: str) -> None:
    if mode == "PA":
        image = Image.new("P", (2, 1), 0)
        image.putpalette([0, 0, 0])
        image.putalpha(Image.new("L", (2, 1), 0))
    else:
        straight = mode.upper()
        image = Image.new(straight, (2, 1), (0,) * len(straight)).convert(mode)
    assert image.mode == mode
    np.testing.assert_array_equal(read_image(image), np.full((1, 2, 3), 255))


def test_palette_and_its_transparent_entry() -> None:
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    palette.putpalette([200, 0, 0, 0, 100, 0])
    expected = [[[200, 0, 0], [0, 100, 0]]]
    np.testing.assert_array_equal(read_image(encode(palette, "PNG")), expected)
    see_through = encode(palette, "PNG", transparency=1)
    np.testing.assert_array_equal(read_image(see_through), [[[200, 0, 0], [255, 255, 255]]])


def test_cmyk_has_the_right_colours() -> None:
    content = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")  # red ink
    np.testing.assert_array_equal(read_image(content), np.full((8, 8, 3), (255, 0, 0)))


@pytest.mark.parametrize("kind", ["array", "big endian array", "PNG", "TIFF"])
def test_16_bit_is_scaled_not_clipped(kind: str) -> None:
    deep = np.array([[0, 257 * 7, 32768, 65535]], dtype=np.uint16)
    source = {"array": deep, "big endian array": deep.astype(">u2")}.get(kind)
    if source is None:
        source = encode(Image.fromarray(deep), kind)
    expected = np.repeat(np.array([[0, 7, 128, 255]], dtype=np.uint8)[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_image(source), expected)


def test_16_bit_colour_arrays() -> None:
    np.testing.assert_array_equal(read_image(COLOURS.astype(np.uint16) * 257), COLOURS)


def test_8_bit_levels_survive_the_way_through_16_bits() -> None:
    levels = np.arange(256, dtype=np.uint16)[None]
    np.testing.assert_array_equal(read_image(levels * 257)[..., 0], levels)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    np.testing.assert_array_equal(read_image(content), np.full((4, 4, 3), (255, 0, 0)))


def huge_png(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels, as a decompression bomb does."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


BROKEN = {
    "empty.jpg": (b"", r"is empty \(0 bytes\)"),
    "text.jpg": (b"hello, I am text\n" * 20, "is not an image"),
    "page.png": (b"<!doctype html><html></html>", "is not an image"),
    "cut.png": (lambda png: png[: len(png) - 30], "is corrupted or truncated"),
    "damaged.png": (lambda png: png.replace(b"IDAT", b"IDAT\xff\x00"), "is corrupted|not an image"),
    "header.jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "is not an image|is corrupted"),
    "bomb.png": (huge_png(60000, 60000), "pixels"),
    "float.tif": (encode(Image.new("F", (2, 2)), "TIFF"), "floating point pixels"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("file_name", BROKEN)
def test_a_broken_file_gives_one_line_with_its_name(
    file_name: str, png: bytes, tmp_path: Path
) -> None:
    content, reason = BROKEN[file_name]
    path = tmp_path / file_name
    path.write_bytes(content(png) if callable(content) else content)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert caught.value.name == str(path)
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert "\n" not in str(caught.value)
    assert "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("length", range(0, 1200, 23))
def test_a_photo_cut_anywhere_is_an_image_error(length: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    content = encode(Image.fromarray(noise), "JPEG", quality=90)
    assert len(content) > 1200
    with pytest.raises(ImageError):
        read_image(content[:length])


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on what it can still read
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_flipped_bytes_raise_nothing_but_image_errors(kind: str) -> None:
    rng = np.random.default_rng(2)
    content = encode(Image.fromarray(np.kron(COLOURS, np.ones((9, 9, 1), np.uint8))), kind)
    outcomes = set()
    for _ in range(60):
        broken = bytearray(content)
        for position in rng.integers(0, len(broken), 4):
            broken[position] = rng.integers(0, 256)
        try:
            outcomes.add(read_image(bytes(broken)).ndim)
        except ImageError as error:
            outcomes.add(str(error).count("\n"))
    assert outcomes <= {3, 0}


def test_missing_file_folder_and_device(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent\.jpg: no such file$"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="is a folder, not an image file"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(os.devnull)
    with pytest.raises(ImageError):
        read_image("")
    with pytest.raises(ImageError):
        read_image("null\0byte.jpg")


WRONG_SOURCES = {
    "float": (np.zeros((4, 4, 3)), r"got float64, for values in 0\.\.1 pass"),
    "int64": (np.zeros((4, 4, 3), dtype=np.int64), "got int64$"),
    "channels first": (np.zeros((3, 8, 8), dtype=np.uint8), "move the channels last"),
    "five channels": (np.zeros((8, 8, 5), dtype=np.uint8), "wanted the shape"),
    "batch": (np.zeros((1, 8, 8, 3), dtype=np.uint8), "wanted the shape"),
    "no pixels": (np.zeros((0, 8, 3), dtype=np.uint8), "has no pixels"),
    "none": (None, "wanted a path.*got builtins.NoneType"),
    "tensor": (torch.zeros(3, 4, 4), "wanted a path.*got torch.Tensor"),
    "text file": (io.StringIO("text"), "binary mode"),
}


@pytest.mark.parametrize("case", WRONG_SOURCES)
def test_a_wrong_argument_is_refused_with_what_was_wanted(case: str) -> None:
    source, reason = WRONG_SOURCES[case]
    with pytest.raises(ImageError, match=reason):
        read_image(source)


def test_the_pixel_limit_counts_before_decoding() -> None:
    with pytest.raises(ImageError, match="has 3x2 pixels, more than the 5 allowed"):
        read_image(COLOURS, max_pixels=5)
    with pytest.raises(ImageError, match="has 3x2 pixels"):
        read_image(encode(Image.fromarray(COLOURS), "PNG"), max_pixels=5)
    assert read_image(COLOURS, max_pixels=6).shape == (2, 3, 3)


def test_sources_are_named_by_their_file(png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    with path.open("rb") as opened:
        assert describe_source(opened) == str(path)
    assert describe_source(Image.open(path)) == str(path)
    assert describe_source(COLOURS) == "array [2, 3, 3] uint8"
    assert describe_source(png) == f"image of {len(png)} bytes"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_stored_pixels_are_had_whatever_exif_says(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(Image.fromarray(COLOURS), kind, exif=exif, **options)
    np.testing.assert_array_equal(read_image(content, upright=False), COLOURS)


EVERY_LEVEL = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("white_level", [255, 1000, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("as_file", [False, True], ids=["array", "png"])
def test_16_bit_levels_are_scaled_by_the_white_level(white_level: int, as_file: bool) -> None:
    source = encode(Image.fromarray(EVERY_LEVEL), "PNG") if as_file else EVERY_LEVEL
    exact = [min(level, white_level) * 255 / white_level for level in range(65536)]
    expected = [int(level + 0.5) for level in exact]
    picture = read_image(source, white_level=white_level)
    np.testing.assert_array_equal(picture[..., 0].reshape(-1), expected)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_colours_of_files_are_scaled_and_turned(
    orientation: int, upright: bool, kind: str
) -> None:
    levels = np.random.default_rng(3).integers(0, 1024, (2, 5, 3), dtype=np.uint16)
    if kind == "png":
        content = png_with_exif(levels[..., ::-1], orientation)
    else:
        content = deep_tiff(levels, orientation)
    scaled = (levels * (255 / 1023) + 0.5).astype(np.uint8)
    expected = ORIENTATIONS[orientation](scaled) if upright else scaled
    picture = read_image(content, white_level=1023, upright=upright)
    np.testing.assert_array_equal(picture, expected)
    halves = (levels >> 8).astype(np.uint8)  # what Pillow keeps, and what was read before
    expected = ORIENTATIONS[orientation](halves) if upright else halves
    np.testing.assert_array_equal(read_image(content, upright=upright), expected)


def test_transparency_of_16_bits_is_not_measured_by_the_white_level() -> None:
    content = cv2.imencode(".png", np.array([[[0, 2047, 4095, 65535]]], dtype=np.uint16))[1]
    assert read_image(content.tobytes(), white_level=4095).tolist() == [[[255, 127, 0]]]


def test_8_bit_pictures_have_no_other_white(png: bytes) -> None:
    np.testing.assert_array_equal(read_image(png, white_level=1023), COLOURS)


@pytest.mark.parametrize("white_level", [0, -1, 65536])
def test_white_levels_beyond_16_bits_are_refused(white_level: int) -> None:
    with pytest.raises(
        ValueError, match=f"wanted a white level from 1 to 65535, got {white_level}"
    ):
        read_image(COLOURS, white_level=white_level)


def test_a_file_object_is_read_once_and_looked_at_twice(png: bytes) -> None:
    loaded = load_source(io.BytesIO(png))
    for _ in range(2):
        np.testing.assert_array_equal(read_image(loaded), COLOURS)
    assert load_source(loaded) is loaded


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("folder/grün 猫.png", "grün 猫.png"),
        (Path("folder") / "a.b.jpg", "a.b.jpg"),
        ("https://example.org/x/red%20car.jpg?size=3", "red car.jpg"),
        ("https://example.org", None),
        (b"bytes", None),
        (COLOURS, None),
        (Image.fromarray(COLOURS), None),
        (io.BytesIO(), None),
    ],
)
def test_names_of_files_are_known_where_there_is_a_file(source: object, name: str | None) -> None:
    assert file_name_of(source) == name
