"""Where tiles of a photo lie, how small they become, and which failures make them smaller."""

from __future__ import annotations

import pytest
import torch

from freeseg.inference import is_out_of_memory, segment_in_tiles, segment_within_memory
from freeseg.inference.tiles import spans
from freeseg.structures import CERTAINTY_KEY


def rows_of(found):
    return [
        (one.source.start, one.source.stop, one.target.start, one.target.stop, one.own_start)
        for one in found
    ]


@pytest.mark.parametrize(
    ("source", "target", "parts", "rows"),
    [
        (300, 300, 3, [(0, 112, 0, 112, 0), (88, 212, 88, 212, 100), (188, 300, 188, 300, 200)]),
        (300, 450, 2, [(0, 168, 0, 252, 0), (132, 300, 198, 450, 225)]),
        (333, 111, 2, [(0, 186, 0, 62, 0), (146, 333, 49, 111, 55)]),
        (64, 64, 5, [(0, 36, 0, 36, 0), (28, 64, 28, 64, 32)]),
        (63, 63, 2, [(0, 63, 0, 63, 0)]),
        (400, 2, 3, [(0, 225, 0, 1, 0), (175, 400, 1, 2, 1)]),
        (10, 20, 4, [(0, 10, 0, 20, 0)]),
    ],
)
def test_a_tile_reaches_an_eighth_of_its_side_over_each_neighbour(source, target, parts, rows):
    assert rows_of(spans(source, target, parts)) == rows


def test_tiles_are_asked_for_row_by_row_each_at_its_own_size():
    asked = []

    def model(batch):
        (one,) = batch
        asked.append((*one["image"].shape[-2:], one["height"], one["width"], one["name"]))
        assert torch.equal(
            one["image"][0, 0], torch.arange(one["image"][0, 0, 0], 400)[: asked[-1][1]]
        )
        return [{CERTAINTY_KEY: float(one["image"][1, 0, 0])}]

    image = torch.stack(
        [torch.arange(400).expand(100, -1), torch.arange(100)[:, None].expand(-1, 400)]
    )
    inputs = {"image": image, "height": 200, "width": 400, "name": "a"}
    certainty = segment_in_tiles(model, inputs, 2)[CERTAINTY_KEY]
    wide, high = 225, 56
    assert asked == [(high, wide, 2 * high, wide, "a")] * 4
    assert certainty == 44 / 2  # the lower half begins at row 50 and reaches up to 44


def test_every_pixel_is_as_certain_as_the_tile_that_decides_it():
    values = iter([0.1, 0.9, 0.5])
    inputs = {"image": torch.zeros(3, 40, 100), "height": 40, "width": 100}
    found = segment_in_tiles(lambda _: [{CERTAINTY_KEY: next(values)}], inputs, 3)[CERTAINTY_KEY]
    assert found == pytest.approx((33 * 0.1 + 33 * 0.9 + 34 * 0.5) / 100)


def tried(height, width, batch=1):
    """Sizes at which a model is called that never has enough memory, and what it ends with."""
    sizes = []

    def model(inputs):
        sizes.append([tuple(one["image"].shape[-2:]) for one in inputs])
        raise MemoryError

    inputs = {"image": torch.zeros(3, height, width), "height": height, "width": width}
    with pytest.raises(MemoryError, match=f"{width}x{height} pixels does not fit"):
        segment_within_memory(model, [inputs] * batch)
    return sizes


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((63, 63), []),
        ((63, 40), []),
        ((40, 64), [(40, 36)]),
        ((64, 40), [(36, 40)]),
        ((127, 127), [(70, 70)]),
        ((128, 20), [(72, 20), (36, 20)]),
    ],
)
def test_the_least_tile_has_a_side_of_32_pixels_and_its_margin(size, tiles):
    assert tried(*size) == [[size], *([tile] for tile in tiles)]


def test_of_several_images_each_is_tried_alone_before_tiles():
    assert tried(64, 64, batch=3) == [[(64, 64)] * 3, [(64, 64)], [(36, 36)]]


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), True),
        (RuntimeError("not enough memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("memory is not enough"), False),
        (ValueError("x"), False),
        (OSError("cannot read"), False),
    ],
    ids=repr,
)
def test_a_full_memory_is_known_from_other_failures(error, is_full):
    assert is_out_of_memory(error) is is_full


@pytest.mark.parametrize("calls_before", [0, 1])
def test_other_failures_come_through_from_the_whole_and_from_tiles(calls_before):
    calls = []

    def model(inputs):
        calls.append(inputs)
        raise MemoryError if len(calls) <= calls_before else RuntimeError("shapes differ")

    inputs = {"image": torch.zeros(3, 200, 200), "height": 200, "width": 200}
    with pytest.raises(RuntimeError, match="shapes differ"):
        segment_within_memory(model, [inputs])
    assert len(calls) == calls_before + 1
