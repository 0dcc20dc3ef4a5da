"""Laws of every simulator: rows stand for themselves, nothing global is drawn, empty is absent."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import torch

from freeseg.training.prompts import (
    STROKES,
    deepest_error_point,
    error_point,
    noisy_box,
    sample_point,
    scribble,
)
from freeseg.training.prompts.draws import pick_pixels


def clicks(found):
    return torch.cat([found.points, found.signs[:, None].float()], dim=1)


SIMULATORS = {
    "point": lambda masks, others, generator: clicks(sample_point(masks, generator)),
    "error": lambda masks, others, generator: clicks(error_point(masks, others, generator)),
    "deepest": lambda masks, others, generator: clicks(deepest_error_point(masks, others)),
    "box": lambda masks, others, generator: noisy_box(masks, generator),
    **{
        kind: functools.partial(lambda masks, others, generator, kind: scribble(
            masks, generator, kind), kind=kind)
        for kind in STROKES
    },
}  # fmt: skip
simulators = pytest.mark.parametrize("simulate", SIMULATORS.values(), ids=SIMULATORS)


@simulators
def test_permuted_masks_and_generators_permute_what_is_drawn(simulate, blobs, seeded):
    masks, others = blobs(7), blobs(7, seed=1)
    masks[3] = False
    found = simulate(masks, others, seeded(*range(7)))
    order = torch.tensor([4, 0, 6, 3, 1, 5, 2])
    permuted = simulate(masks[order], others[order], seeded(*order.tolist()))
    assert torch.equal(permuted.nan_to_num(-9), found[order].nan_to_num(-9))


@simulators
def test_a_mask_alone_is_as_among_others(simulate, blobs, seeded):
    masks, others = blobs(4), blobs(4, seed=1)
    found = simulate(masks, others, seeded(*range(4)))
    alone = [simulate(masks[row : row + 1], others[row : row + 1], seeded(row)) for row in range(4)]
    assert torch.equal(found, torch.cat(alone))


@simulators
def test_equal_generators_give_equal_prompts_and_nothing_global_is_drawn(simulate, blobs, seeded):
    masks, others = blobs(5), blobs(5, seed=1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = simulate(masks, others, *seeded(3))
    assert torch.equal(first, simulate(masks, others, *seeded(3)))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2] == random.getstate()


@simulators
def test_masks_and_predictions_stay(simulate, blobs, seeded):
    masks, others = blobs(5), blobs(5, seed=1)
    simulate(masks, others, *seeded(0))
    assert torch.equal(masks, blobs(5))
    assert torch.equal(others, blobs(5, seed=1))


@simulators
def test_no_masks_give_no_prompts(simulate, blobs, seeded):
    none = blobs(0)
    some = simulate(blobs(2), blobs(2), seeded(0, 1))
    for generator in (*seeded(0), []):
        found = simulate(none, none, generator)
        assert found.shape == (0, *some.shape[1:])
        assert found.dtype == some.dtype


@simulators
@pytest.mark.parametrize("masks", [torch.ones(2, 3, 3), torch.ones(3, 3, dtype=torch.bool)])
def test_what_are_no_masks_is_refused(simulate, masks, seeded):
    with pytest.raises(ValueError, match=r"wanted bool masks \[N, H, W\], got torch\."):
        simulate(masks, masks, *seeded(0))


@pytest.mark.parametrize("name", [name for name in SIMULATORS if name != "deepest"])
def test_another_number_of_generators_is_refused(name, blobs, seeded):
    with pytest.raises(ValueError, match="3 generators for 2 masks: wanted one of each"):
        SIMULATORS[name](blobs(2), blobs(2, seed=1), seeded(0, 1, 2))


def test_ranks_of_pixels_are_in_reading_order(blobs):
    """Written out with `nonzero`, for whole numbers that begin anew after the last pixel."""
    masks = blobs(6)
    none = torch.zeros_like(masks)
    assert not pick_pixels(none, torch.arange(9).expand(6, -1)).any()
    areas = masks.sum((1, 2))
    numbers = torch.arange(2 * int(areas.max())).expand(6, -1)
    found = pick_pixels(masks, numbers)
    for mask, area, pixels in zip(masks, areas.tolist(), found):
        listed = mask.nonzero().flip(1)
        assert torch.equal(pixels, listed[torch.arange(len(pixels)) % area])


@pytest.mark.parametrize("name", ["point", "error", "box"])
def test_all_is_computed_on_the_device_of_the_masks(name, seeded):
    """On a device that has shapes alone, and refuses tensors of the CPU beside its own."""
    masks = torch.empty(3, 20, 30, dtype=torch.bool, device="meta")
    found = SIMULATORS[name](masks, masks, seeded(0, 1, 2))
    assert found.device.type == "meta"
