"""Objects are told apart by colour, whatever they are; readings of one object are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from freeseg.structures import InstanceSet, Runs, SegmentationResult, Vocabulary
from freeseg.visualization import Segmentation, class_colors
from freeseg.visualization.overlay import _legend_rows, segments_of
from freeseg.visualization.palette import shade

SIZE = (40, 60)
COUNT = 12


def random_masks(seed: int, count: int = COUNT) -> torch.Tensor:
    """Blocks that overlap, of unlike areas."""
    rng = np.random.default_rng(seed)
    masks = torch.zeros(count, *SIZE, dtype=torch.bool)
    for mask in masks:
        top, left = rng.integers(0, SIZE[0] - 4), rng.integers(0, SIZE[1] - 4)
        mask[top : top + rng.integers(4, 30), left : left + rng.integers(4, 40)] = True
    return masks


def result_of(masks, scores=None, vocabulary=("object",), **fields) -> Segmentation:
    count = len(masks)
    scores = torch.linspace(0.9, 0.6, count) if scores is None else torch.tensor(scores)
    found = InstanceSet(masks, torch.zeros(count, 4), fields.pop("labels", None), scores, **fields)
    photo = np.random.default_rng(9).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    classes = Vocabulary(vocabulary, (True,) * len(vocabulary))
    return Segmentation.from_result(photo, SegmentationResult(objects=found), classes)


def everything_of(masks: torch.Tensor) -> Segmentation:
    count = len(masks)
    points, windows = torch.zeros(count, 2).double(), torch.zeros(count, 4, dtype=torch.int64)
    return result_of(Runs.of_masks(masks), points=points, windows=windows)


def painted(masks: torch.Tensor, colors) -> np.ndarray:
    """The largest first, so that smaller ones lie on it; of equal ones the earlier first."""
    picture = np.zeros((*SIZE, 3), dtype=np.uint8)
    for index in np.argsort(-masks.sum((1, 2)).numpy(), kind="stable"):
        picture[masks[index].numpy()] = colors[index]
    return picture


@pytest.mark.parametrize("seed", range(4))
def test_of_everything_each_mask_has_its_colour_and_the_smaller_is_on_top(seed: int) -> None:
    masks = random_masks(seed)
    picture = everything_of(masks).label_picture()
    np.testing.assert_array_equal(picture, painted(masks, class_colors(COUNT)))


def test_hundreds_of_masks_have_hundreds_of_colours() -> None:
    drawn = segments_of(everything_of(random_masks(0, 300)), "object", 0.0)
    assert len({segment.color for segment in drawn}) == 300
    assert {segment.caption for segment in drawn} == {""}


@pytest.mark.parametrize("seed", range(4))
def test_readings_of_one_object_are_shades_of_its_hue_and_the_answer_is_the_hue(seed: int) -> None:
    masks = random_masks(seed)
    owners, choices = torch.arange(COUNT) // 3, torch.arange(COUNT) % 3
    scores = np.random.default_rng(seed).permutation(np.linspace(0.5, 0.9, COUNT)).tolist()
    result = result_of(masks, scores, owners=owners, choices=choices)
    hues = class_colors(4)
    colors = [shade(hues[int(own)], int(choice)) for own, choice in zip(owners, choices)]
    best_first = np.argsort(-np.array(scores)).tolist()
    expected = painted(masks[best_first], [colors[index] for index in best_first])
    np.testing.assert_array_equal(result.label_picture(), expected)


def test_an_object_keeps_its_colour_whichever_others_are_drawn() -> None:
    owners, choices = torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.int64)
    result = result_of(random_masks(1, 3), [0.2, 0.9, 0.6], owners=owners, choices=choices)
    drawn = segments_of(result, "object", 0.5)
    assert [segment.color for segment in drawn] == list(class_colors(3)[1:])


def test_the_legend_has_the_colour_of_the_one_object_and_none_of_several() -> None:
    masks, choices = random_masks(2, 3), torch.arange(3)
    one = result_of(masks, owners=torch.full((3,), 1), choices=choices)
    several = result_of(masks, owners=torch.arange(3), choices=torch.zeros(3, dtype=torch.int64))
    for result, color in ((one, class_colors(2)[1]), (several, None)):
        (row,) = _legend_rows(result, "object", segments_of(result, "object", 0.0))
        assert (row.name, row.color) == ("object \u00d73", color)


def test_objects_of_classes_are_told_apart_too() -> None:
    labels, owners = torch.tensor([1, 1, 0]), torch.arange(3)
    result = result_of(
        random_masks(3, 3),
        vocabulary=("cat", "dog"),
        labels=labels,
        owners=owners,
        choices=torch.zeros(3, dtype=torch.int64),
    )
    drawn = segments_of(result, "object", 0.0)
    assert [segment.color for segment in drawn] == list(class_colors(3))
    assert [segment.caption[:3] for segment in drawn] == ["dog", "dog", "cat"]


def test_nothing_found_is_a_picture_of_the_photo() -> None:
    nothing = result_of(random_masks(0, 0), owners=torch.zeros(0).long(), choices=torch.zeros(0))
    np.testing.assert_array_equal(nothing.picture(), nothing.image)
