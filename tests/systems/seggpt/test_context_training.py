"""Canvases of training: what is shown, painted, hidden and weighed, on squares by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.structures import BitMasks, Instances
from freeseg.structures import Example, read_sample
from freeseg.systems.seggpt.canvas_parts import crop_box, smooth
from freeseg.systems.seggpt.painting import IMAGE_MEAN, IMAGE_STD
from freeseg.systems.seggpt.training import INSTANCE, SEMANTIC, Canvases, ContextTraining

S, P = 16, 4
PLAIN = {"side": S, "patch": P, "crop_share": 0.0, "grid_share": 0.0, "lower_half_share": 1.0}


def square(*boxes):
    """Bool [M, S, S] of (top, left, side)."""
    masks = torch.zeros(len(boxes), S, S, dtype=torch.bool)
    for mask, (top, left, side) in zip(masks, boxes):
        mask[top : top + side, left : left + side] = True
    return masks


def photo(grey):
    return torch.full((3, S, S), grey, dtype=torch.uint8)


QUERY = square((0, 0, 4), (8, 8, 6))
SHOWN = [square((10, 0, 5), (0, 9, 3)), square((1, 1, 2), (4, 4, 8))]


def sample(task="semantic", masks=QUERY, ids=(3, 5), void=None, examples=2):
    instances = Instances((S, S))
    instances.gt_classes, instances.gt_masks = torch.zeros(len(masks)).long(), BitMasks(masks)
    instances.gt_ids = torch.tensor(ids)
    shown = [
        Example(photo(50 * (number + 1)), SHOWN[number % 2], ids=torch.tensor([3, 5]))
        for number in range(examples)
    ]
    record = {"image": photo(200), "task": task, "instances": instances, "void": void}
    return read_sample({**record, "examples": tuple(shown)}, 255)


def canvases(*samples, seed=0, **changes) -> Canvases:
    training = ContextTraining(**{**PLAIN, **changes})
    return training(samples or [sample()], torch.Generator().manual_seed(seed))


def colours_of(target):
    """uint8 [2S, S, 3]."""
    std, mean = torch.tensor(IMAGE_STD), torch.tensor(IMAGE_MEAN)
    pixels = (target.permute(1, 2, 0) * std + mean) * 255
    assert (pixels - pixels.round()).abs().max() < 1e-3
    return pixels.round().long()


def regions(canvas_masks):
    """[(mask of the upper half, mask of the lower half)] as masks of a canvas."""
    return [torch.cat(pair) for pair in canvas_masks]


@pytest.mark.parametrize("seed", range(6))
def test_one_object_has_one_colour_in_both_halves(seed):
    found = canvases(seed=seed)
    upper = colours_of(found.images[0])[0, 0, 0].item() // 50 - 1  # which example is shown
    assert (colours_of(found.images[0])[S:] == 200).all()
    colours = colours_of(found.targets[0])
    three, five = regions(zip(SHOWN[upper], QUERY))
    (first,), (second,) = (colours[mask].unique(dim=0).tolist() for mask in (three, five))
    assert first != second
    assert [0, 0, 0] not in (first, second)
    assert (colours[~(three | five)] == 0).all()
    assert found.masked[0].tolist() == [[False] * 4] * 4 + [[True] * 4] * 4


def test_colours_and_examples_are_drawn_anew_for_each_sample():
    found = canvases(*[sample()] * 12)
    assert len({str(colours_of(target).unique(dim=0)) for target in found.targets}) == 12
    shown = {colours_of(image)[0, 0, 0].item() for image in found.images}
    assert shown == {50, 100}


def test_a_seed_alone_decides():
    options = {"crop_share": 0.5, "grid_share": 0.5, "lower_half_share": 0.5}
    rows = [sample(examples=4)] * 4
    first, again, other = (canvases(*rows, seed=seed, **options) for seed in (1, 1, 2))
    for name in ("images", "targets", "masked", "weights", "kinds"):
        assert getattr(first, name).equal(getattr(again, name))
    assert not first.targets.equal(other.targets)


def test_what_is_smaller_lies_on_top():
    masks = square((4, 4, 4), (2, 2, 10))
    query = sample(masks=masks, ids=(3, 5), examples=1)
    colours = colours_of(canvases(query).targets[0])[S:]
    inner, outer = colours[5, 5], colours[2, 2]
    assert not inner.equal(outer)
    assert (colours[masks[0]] == inner).all()
    assert (colours[masks[1] & ~masks[0]] == outer).all()


def test_kinds_are_those_of_the_tasks():
    found = canvases(sample("semantic"), sample("instance"))
    assert found.kinds.tolist() == [SEMANTIC, INSTANCE] == [0, 1]
    assert found.kinds.dtype == torch.int64


# weights


@pytest.mark.parametrize("weight", [1.0, 0.0, 0.25])
@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_void_counts_nothing_and_black_as_is_said(task, weight):
    void = torch.zeros(2, S, S, dtype=torch.bool)
    void[0, 12:] = True  # of the query, over its second object too
    void[1, :, 15] = True
    found = canvases(sample(task, void=void, examples=1), background_weight=weight)
    painted = torch.cat([SHOWN[0].any(0), QUERY.any(0)])
    is_void = torch.cat([void[1], void[0]]) & ~painted
    black = weight if task == "semantic" else 1.0
    expected = torch.where(painted, 1.0, torch.where(is_void, 0.0, black))
    assert found.weights.shape == (1, 3, 2 * S, S)
    assert (found.weights == expected).all()


def test_hardly_painted_instances_count_nothing():
    tiny = square((0, 0, 1), (5, 5, 1))
    rows = [sample(task, masks=tiny, examples=1) for task in ("instance", "semantic")]
    share = (2 + 25 + 9) / (2 * S * S)
    for least, expected in ((share - 1e-3, [1, 1]), (share + 1e-3, [0, 1])):
        found = canvases(*rows, least_foreground=least)
        assert found.weights.amax((1, 2, 3)).tolist() == expected


def test_hidden_weights_are_those_of_hidden_patches():
    found = canvases(*[sample()] * 3, lower_half_share=0.0)
    assert found.masked.sum((1, 2)).tolist() == [16] * 3  # half of 8 x 4
    assert not found.masked[0].equal(found.masked[1])
    for row in range(2 * S):
        for column in range(S):
            hidden = found.masked[:, row // P, column // P, None]
            expected = found.weights[:, :, row, column] * hidden
            assert found.hidden_weights[:, :, row, column].equal(expected)


def test_lower_halves_are_hidden_as_often_as_is_said():
    found = canvases(*[sample()] * 400, lower_half_share=0.25)
    plain = (found.masked[:, 4:].all(-1).all(-1)).float().mean()
    assert 0.2 < plain < 0.3


# grids of examples, crops of canvases


def test_four_examples_become_one_in_a_grid():
    found = canvases(sample(examples=4), grid_share=1.0)
    greys = colours_of(found.images[0])[..., 0]
    cells = [greys[top : top + 8, left : left + 8].unique().tolist()
             for top in (0, 8) for left in (0, 8)]  # fmt: skip
    assert sorted(cells) == [[50], [100], [150], [200]]
    colours = colours_of(found.targets[0])
    query = [colours[S + 1, 1].tolist(), colours[S + 9, 9].tolist()]
    for number, (cell,) in enumerate(cells):
        top, left = 8 * (number // 2), 8 * (number % 2)
        masks = SHOWN[(cell // 50 - 1) % 2]
        for mask, colour in zip(masks, query):
            small = Image.fromarray(mask.numpy()).resize((8, 8), Image.Resampling.NEAREST)
            part = colours[top : top + 8, left : left + 8]
            assert np.array_equal((part == torch.tensor(colour)).all(-1).numpy(), small)


def test_too_few_examples_are_no_grid():
    found = canvases(sample(examples=3), grid_share=1.0)
    assert len(found.images[0, 0, :S].unique()) == 1


def test_crops_go_through_both_halves_of_canvases_of_classes_alone():
    rows = [sample(task) for task in ("semantic", "instance") for _ in range(20)]
    found = canvases(*rows, crop_share=1.0, crop_scale=(0.3, 0.6))
    is_whole = [
        (colours_of(image)[S:] == 200).all().item() and (colours_of(image)[:S] < 150).all().item()
        for image in found.images
    ]
    assert is_whole == [False] * 20 + [True] * 20
    for target in found.targets:  # colours are never blended
        assert len(colours_of(target).flatten(0, 1).unique(dim=0)) <= 3


def test_crops_take_photos_paintings_and_weights_together():
    """A photo with the objects in white: painted is what is white."""
    white, shown = (
        (masks.any(0) * 255).to(torch.uint8).expand(3, S, S) for masks in (QUERY, SHOWN[0])
    )
    example = Example(shown, SHOWN[0], ids=torch.tensor([3, 5]))
    row = replace(sample(examples=1), image=white, examples=(example,))
    found = canvases(*[row] * 10, crop_share=1.0, crop_scale=(0.4, 0.9), background_weight=0.0)
    for image, target, weights in zip(found.images, found.targets, found.weights):
        painted = (colours_of(target) > 0).any(-1)
        assert painted.equal(weights[0] > 0)
        assert ((image[0] > 0) == painted).float().mean() > 0.9


def test_boxes_of_crops_have_areas_and_shapes_of_their_ranges():
    generator = torch.Generator().manual_seed(0)
    boxes = [crop_box((896, 448), (0.3, 1.0), (0.3, 0.7), generator) for _ in range(500)]
    sizes = np.array([(height, width) for _, _, height, width in boxes])
    assert all(t >= 0 and x >= 0 and t + h <= 896 and x + w <= 448 for t, x, h, w in boxes)
    ratios = (sizes[:, 1] / sizes[:, 0])[~(sizes == (896, 448)).all(1)]
    assert 0.299 < ratios.min() < 0.32
    assert 0.68 < ratios.max() < 0.701
    assert 0.299 < (sizes.prod(1) / (896 * 448)).min() < 0.35
    assert crop_box((10, 10), (1.0, 1.0), (0.1, 0.1), generator) == (0, 0, 10, 10)


@pytest.mark.parametrize("size", [(16, 16), (40, 25), (7, 9)])
def test_photos_are_resized_nearly_as_pillow_resizes_them(size):
    image = torch.randint(256, (3, 16, 16), generator=torch.Generator().manual_seed(0))
    image = image.to(torch.uint8)
    expected = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(
        size[::-1], Image.Resampling.BICUBIC
    )
    found = smooth(image, size).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - np.asarray(expected).astype(int)).max() <= 1


# refusals


BAD = {
    "no ids": (
        lambda: replace(sample(), ids=None),
        "needs samples with examples, whose masks have ids: INPUT.DATASET",
    ),
    "no examples": (lambda: sample(examples=0), "needs samples with examples"),
    "examples without ids": (
        lambda: replace(sample(), examples=(Example(photo(0), QUERY),)),
        "whose masks have ids",
    ),
    "another size": (
        lambda: replace(sample(), image=torch.zeros(3, 8, 16, dtype=torch.uint8)),
        "wanted images of 16x16 pixels, got 8x16, 16x16",
    ),
}


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_samples_that_say_too_little_are_refused(row, message):
    with pytest.raises(ValueError, match=message):
        canvases(row())


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"side \(10\) must be a multiple of patch \(4\)"):
        ContextTraining(side=10, patch=4)
    with pytest.raises(ValueError, match=r"crop_share must be from 0 to 1, got 1\.5"):
        ContextTraining(side=8, patch=4, crop_share=1.5)
    found = canvases()
    with pytest.raises(ValueError, match="are not of patches"):
        Canvases(found.images, found.targets, found.masked[:, 1:], found.weights, found.kinds)


def test_canvases_move_together():
    moved = canvases().to(torch.device("meta"))
    assert {getattr(moved, name).device.type for name in vars(moved)} == {"meta"}
