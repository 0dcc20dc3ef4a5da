"""Maps of segment ids against Pillow and numpy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import freeseg.ops.id_maps as id_maps
from freeseg.ops import count_pairs, read_id_map


@pytest.fixture(params=["library", "numpy"])
def way(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(id_maps, "load", lambda name: "not built")


def blobs(seed: int, shape=(37, 53), largest=2**24 - 1) -> np.ndarray:
    """Segments of a few pixels with any ids, some rows of noise: all PNG filters occur."""
    random = np.random.default_rng(seed)
    cells = random.integers(0, largest, (shape[0] // 5 + 1, shape[1] // 7 + 1))
    ids = cells.repeat(5, 0).repeat(7, 1)[: shape[0], : shape[1]]
    ids[::9] = random.integers(0, largest, ids[::9].shape)
    ids[1::9] = np.linspace(0, largest, shape[1]).astype(ids.dtype)
    return ids.astype(np.int32)


def png(ids: np.ndarray, mode: str, **options) -> bytes:
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(rgb).convert(mode).save(file, "PNG", **options)
        return file.getvalue()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("seed", range(3))
def test_ids_come_back_from_a_png(seed, mode):
    ids = blobs(seed)
    found = read_id_map(png(ids, mode))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, ids)


@pytest.mark.usefixtures("way")
def test_every_filter_is_undone():
    """Rows filtered by hand, one number after the other, as the PNG standard defines them."""
    ids = blobs(5, (10, 6))
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(int)
    padded = np.pad(rgb, ((1, 0), (1, 0), (0, 0)))
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    guess = left + up - corner
    away = np.stack([abs(guess - one) for one in (left, up, corner)])
    paeth = np.choose(away.argmin(0), [left, up, corner])
    predicted = [np.zeros_like(rgb), left, up, (left + up) // 2, paeth]
    rows = [
        bytes([y % 5]) + ((rgb[y] - predicted[y % 5][y]) % 256).astype(np.uint8).tobytes()
        for y in range(len(ids))
    ]
    with io.BytesIO() as file:
        header = np.array([6, 10], ">u4").tobytes() + bytes([8, 2, 0, 0, 0])
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in (
            (b"IHDR", header),
            (b"IDAT", id_maps.zlib.compress(b"".join(rows))),
            (b"IEND", b""),
        ):
            PngImagePlugin.putchunk(file, name, content)
        np.testing.assert_array_equal(read_id_map(file.getvalue()), ids)


def test_other_pngs_are_left_to_pillow():
    ids = blobs(0, largest=256) & 255
    palette = png(ids, "P")
    rgb = np.asarray(Image.open(io.BytesIO(palette)).convert("RGB")).astype(int)
    np.testing.assert_array_equal(read_id_map(palette), rgb @ [1, 256, 65536])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("largest", [4, 2**24 - 1], ids=["few", "more pairs than there is room"])
def test_pairs_are_counted(largest):
    first, second = blobs(1, (150, 90), largest), blobs(2, (150, 90), largest).T.reshape(150, 90)
    columns = (column.tolist() for column in count_pairs(first, second))
    found = {(a, b): n for a, b, n in zip(*columns)}
    pairs, counts = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1, return_counts=True)
    assert found == dict(zip(map(tuple, pairs.T.tolist()), counts.tolist()))


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"one size, got \(2, 3\) and \(3, 2\)"):
        count_pairs(np.zeros((2, 3)), np.zeros((3, 2)))
