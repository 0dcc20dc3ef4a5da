"""Masks that are made when they are asked for are read, written and drawn as others are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from freeseg.data.coco_writer import encode_rle
from freeseg.structures import InstanceSet, Runs, SegmentationResult, Vocabulary
from freeseg.visualization import Segmentation
from freeseg.visualization.stored_masks import StoredMasks, code_of

SIZE = (30, 44)
COUNT = 6


def random_masks():
    generator = torch.Generator().manual_seed(4)
    coarse = torch.rand(COUNT, 1, 5, 6, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, SIZE, mode="bilinear")[:, 0]
    return fine > torch.linspace(0.35, 0.75, COUNT)[:, None, None]


def segmentation(masks, **more):
    boxes = Runs.of_masks(random_masks()).boxes()
    objects = InstanceSet(masks, boxes, None, torch.linspace(0.95, 0.55, COUNT), **more)
    photo = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    result = SegmentationResult(objects=objects)
    return Segmentation.from_result(photo, result, Vocabulary(("object",), (True,)))


@pytest.fixture
def pair():
    """The same with masks that are there, and with runs."""
    masks = random_masks()
    return segmentation(masks), segmentation(Runs.of_masks(masks))


def test_they_read_as_an_array(pair):
    there, stored = (one.masks for one in pair)
    assert isinstance(stored, StoredMasks)
    assert (stored.shape, stored.ndim, stored.dtype) == (there.shape, there.ndim, there.dtype)
    np.testing.assert_array_equal(np.asarray(stored), there)
    np.testing.assert_array_equal(np.stack(list(stored)), there)
    np.testing.assert_array_equal(stored[np.int64(2)], there[2])
    np.testing.assert_array_equal(stored[-1], there[-1])
    for chosen in (slice(1, 5, 2), [3, 0], there.any((1, 2))):
        np.testing.assert_array_equal(np.asarray(stored[chosen]), there[chosen])
    np.testing.assert_array_equal(np.asarray(stored, dtype=np.uint8), there.astype(np.uint8))
    for wrong in (COUNT, -COUNT - 1):
        with pytest.raises(IndexError, match="wanted one of 6 masks"):
            stored[wrong]


def test_codes_are_those_of_cocos_tools(pair):
    there, stored = (one.masks for one in pair)
    for number, mask in enumerate(there):
        assert code_of(stored, number) == code_of(there, number) == encode_rle(mask)


def test_they_are_written_and_drawn_alike(pair, tmp_path):
    there, stored = pair
    assert stored.to_rle() == there.to_rle()
    assert stored.to_coco() == there.to_coco()
    np.testing.assert_array_equal(stored.picture(), there.picture())
    np.testing.assert_array_equal(stored.overlay(), there.overlay())
    np.testing.assert_array_equal(stored.number_map(), there.number_map())
    for one, folder in ((there, tmp_path / "a"), (stored, tmp_path / "b")):
        one.save(folder, formats="overlay,coco,rle")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_pixel_has_the_number_of_the_smallest_mask(pair):
    masks = pair[0].masks
    expected = np.zeros(SIZE, dtype=np.int32)
    for y, x in np.ndindex(*SIZE):
        there = np.nonzero(masks[:, y, x])[0]
        if len(there):
            expected[y, x] = there[np.argmin([masks[number].sum() for number in there])] + 1
    assert len(np.unique(expected)) > 3
    np.testing.assert_array_equal(pair[1].number_map(), expected)


def test_rows_say_how_masks_were_found():
    found = segmentation(
        Runs.of_masks(random_masks()),
        qualities=torch.linspace(1.2, 0.2, COUNT),
        stabilities=torch.linspace(0.5, 1, COUNT),
        points=torch.arange(2 * COUNT).view(COUNT, 2).double() / 3,
        windows=torch.tensor([[4, 2, 40, 30]]).expand(COUNT, 4),
    )
    painted = {tuple(color) for color in found.label_picture().reshape(-1, 3).tolist()}
    assert len(painted - {(0, 0, 0)}) == len(np.unique(found.number_map())) - 1, "each its colour"
    row = found.to_rle()[1]
    assert row["quality"] == pytest.approx(1.0)
    assert row["stability"] == pytest.approx(0.6)
    assert row["point"] == [2 / 3, 1.0]
    assert row["window"] == [4, 2, 36, 28]
    assert replace(found, objects=replace(found.objects, points=None)).to_rle()[1].keys() == {
        "label", "name", "score", "area", "bbox", "segmentation",
    }  # fmt: skip
