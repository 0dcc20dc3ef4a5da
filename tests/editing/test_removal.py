"""What is taken out of a photo is gone, and all other pixels are the photo's."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from freeseg import ImageError
from freeseg.editing import grown, remove


def noise(*size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def rectangle(size: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[rows, columns] = True
    return mask


def test_an_object_on_a_flat_ground_vanishes_with_its_rim() -> None:
    ground = np.full((61, 83, 3), (30, 140, 200), np.uint8)
    photo, mask = ground.copy(), rectangle((61, 83), slice(20, 41), slice(0, 33))
    photo[18:43, :35] = 90  # its rim is two pixels wider than the mask
    photo[mask] = noise(61, 83)[mask]
    assert (remove(photo, mask, grow=0) != ground).any()  # made of the rim
    np.testing.assert_array_equal(remove(photo, mask, grow=4), ground)


@pytest.mark.parametrize("grow", [0, 1, 8])
@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (slice(10, 20), slice(15, 40)),
        (slice(0, 7), slice(50, 63)),
        (slice(36, 37), slice(0, 1)),
        (slice(0, 37), slice(0, 20)),
    ],
    ids=["inside", "at a corner", "one pixel", "a whole side"],
)
def test_pixels_outside_of_the_grown_mask_are_the_photo_s(rows, columns, grow) -> None:
    photo, mask = noise(37, 63), rectangle((37, 63), rows, columns)
    before = photo.copy()
    changed, whole = remove(photo, mask, grow=grow), grown(mask, grow)
    np.testing.assert_array_equal(changed[~whole], photo[~whole])
    assert (changed[whole] != photo[whole]).any(-1).mean() > 0.9
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("seed", range(6))
def test_a_window_is_filled_as_the_whole_photo_is(seed) -> None:
    """OpenCV looks no further than the margin that is cut out with a mask."""
    random, photo = np.random.default_rng(seed), noise(90, 120, seed=seed)
    top, left = random.integers(0, 60, 2)
    mask = np.zeros((90, 120), bool)
    part = random.random((25, 30)) < random.choice([0.02, 0.3, 0.9])
    mask[top : top + 25, left : left + 30] = part
    mask[top, left] = True
    whole = cv2.inpaint(photo, mask.astype(np.uint8), 3, cv2.INPAINT_NS)
    np.testing.assert_array_equal(remove(photo, mask, grow=0), whole)


def test_several_masks_are_removed_as_one() -> None:
    photo = noise(40, 50)
    first = rectangle((40, 50), slice(3, 12), slice(5, 9))
    second = rectangle((40, 50), slice(10, 20), slice(7, 30))
    together = remove(photo, first | second, grow=2)
    np.testing.assert_array_equal(remove(photo, np.stack([first, second]), grow=2), together)


def test_without_masks_the_photo_comes_back() -> None:
    photo = noise(9, 11)
    for masks in (np.zeros((9, 11), bool), np.zeros((0, 9, 11), bool)):
        np.testing.assert_array_equal(remove(photo, masks), photo)


def test_masks_lie_in_the_upright_photo() -> None:
    upright = noise(24, 40)
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))  # as orientation 6 has it
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    stored.save(file, "PNG", exif=exif)
    mask = rectangle((24, 40), slice(2, 9), slice(30, 38))
    changed = remove(file.getvalue(), mask, grow=0)
    np.testing.assert_array_equal(changed, remove(upright, mask, grow=0))


def test_a_mask_of_all_leaves_nothing_to_fill_it_from() -> None:
    with pytest.raises(ValueError, match="nothing is left of the photo"):
        remove(noise(8, 8), rectangle((8, 8), slice(0, 8), slice(0, 7)), grow=1)


def test_what_is_no_photo_is_refused(tmp_path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        remove(tmp_path / "gone.png", np.zeros((4, 4), bool))
