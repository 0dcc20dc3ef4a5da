"""Tuned prompts: the pictures follow their gradients, the weights stay bit for bit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freeseg.structures import LearnedExample, Vocabulary
from freeseg.systems.seggpt.tuner import (
    PaintedQueries,
    TuningSettings,
    frozen,
    mean_loss,
    tune_example,
)
from freeseg.systems.seggpt.tuning import example_gradients

sys.path.insert(0, str(Path(__file__).parents[2]))
from tiny_systems import tiny_seggpt

SIDE = 32
SGD = TuningSettings(steps=1, queries=2, learning_rate=0.5, optimizer="sgd")


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def example(seed: int) -> LearnedExample:
    pictures = noise(2, 3, SIDE, SIDE, seed=seed)
    colour = torch.full((1, 3), 255, dtype=torch.uint8)
    names = Vocabulary(("cat",), (True,))
    label = torch.zeros(1, dtype=torch.int64)
    return LearnedExample("SegGPT", *pictures, colour, labels=label, vocabulary=names)


def queries(truth: torch.Tensor | None = None, *, seed: int = 9) -> PaintedQueries:
    pictures = noise(2, 3, SIDE, SIDE, seed=seed)
    truth = noise(2, 3, SIDE, SIDE, seed=seed + 1) if truth is None else truth
    return PaintedQueries(pictures, truth, torch.ones_like(truth))


@pytest.fixture(scope="module")
def model():
    return tiny_seggpt(3)


def test_a_step_of_sgd_goes_down_the_gradient(model):
    start, shown = example(1), queries()
    _, by_image, by_target = example_gradients(
        model, start.image, start.target, shown.pictures, shown.truth, kind=0
    )
    tuned = tune_example(model, start, [shown], SGD)
    assert by_image.abs().max() > 0
    torch.testing.assert_close(tuned.image, start.image - 0.5 * by_image)
    torch.testing.assert_close(tuned.target, start.target - 0.5 * by_target)


def test_the_first_step_of_adamw_is_the_rate_in_the_direction_of_the_sign(model):
    start, shown = example(1), queries()
    settings = TuningSettings(steps=1, queries=2, learning_rate=0.1)
    _, _, by_target = example_gradients(
        model, start.image, start.target, shown.pictures, shown.truth, kind=0
    )
    moved = tune_example(model, start, [shown], settings).target - start.target
    is_steep = by_target.abs() > 1e-6  # Adam adds 1e-8 to what it divides by
    assert is_steep.float().mean() > 0.5
    expected = -0.1 * by_target.sign()[is_steep]
    torch.testing.assert_close(moved[is_steep], expected, rtol=0.02, atol=0)


def test_the_rate_falls_with_a_cosine(model):
    """Of two equal steps the second has half the rate: (1 + cos(pi / 2)) / 2."""
    start, shown = example(1), queries()
    first = tune_example(model, start, [shown], replace(SGD, steps=1))
    both = tune_example(model, start, [shown] * 2, replace(SGD, steps=2))
    _, by_image, _ = example_gradients(
        model, first.image, first.target, shown.pictures, shown.truth, kind=0
    )
    torch.testing.assert_close(both.image, first.image - 0.25 * by_image)


def test_an_example_is_found_under_which_the_model_paints_as_it_does_under_another(model):
    """Whatever a hidden example makes the model paint can be learned: its own loss is 0."""
    hidden, start = example(5), example(6)
    painted = []
    for seed in (20, 30):
        shown = queries(seed=seed)
        with torch.no_grad():
            painted.append(replace(shown, truth=paintings(model, hidden, shown.pictures)))
    assert mean_loss(model, hidden, painted) < 1e-6
    before = mean_loss(model, start, painted)
    tuned = tune_example(model, start, painted * 30, TuningSettings(steps=60, queries=2))
    assert before > 0.01
    assert mean_loss(model, tuned, painted) < before / 3
    assert tuned.colours is start.colours
    assert tuned.vocabulary is start.vocabulary


def paintings(model, shown: LearnedExample, pictures: torch.Tensor) -> torch.Tensor:
    """What the model answers under an example, in normalised units."""
    enrolled = model.enroll([shown])
    found = model.paint(enrolled.passes[0], model.network.patches(pictures))
    return (found - model.pixel_mean) / model.pixel_std


def test_weights_stay_bit_for_bit_and_learn_again_afterwards(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fixed = model.mask_token
    fixed.requires_grad_(False)
    model.train()
    try:
        with frozen(model):
            assert not any(each.requires_grad for each in model.parameters())
            assert not model.training
        tune_example(model, example(1), [queries()], SGD)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(each.grad is None for each in model.parameters())
        assert model.training
        assert [each for each in model.parameters() if not each.requires_grad] == [fixed]
    finally:
        model.eval()
        fixed.requires_grad_(True)


def test_what_weighs_nothing_is_not_learned(model):
    start, shown = example(1), queries()
    weights = torch.ones_like(shown.truth)
    weights[:, :, 10:] = 0
    other = shown.truth.clone()
    other[:, :, 10:] = 77.0
    one, two = (
        tune_example(model, start, [PaintedQueries(shown.pictures, truth, weights)], SGD)
        for truth in (shown.truth, other)
    )
    assert torch.equal(one.target, two.target)
    assert not torch.equal(one.target, start.target)


def test_a_loss_that_is_no_number_ends_it(model):
    broken = queries(torch.full((2, 3, SIDE, SIDE), float("nan")))
    with pytest.raises(ValueError, match="loss of step 1 is nan: try a smaller learning rate"):
        tune_example(model, example(1), [broken], SGD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "steps must be 1 or more, got 0"),
        ({"queries": 0}, "queries must be 1 or more, got 0"),
        ({"learning_rate": 0.0}, "learning rate must be above 0"),
        ({"weight_decay": -1.0}, "weight decay 0 or more"),
        ({"optimizer": "lion"}, "an optimizer is adamw or sgd, got 'lion'"),
    ],
)
def test_settings_without_meaning_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        TuningSettings(**changes)


def test_a_learned_example_says_by_names_or_numbers_which_object_is_which():
    pictures, colour = noise(2, 3, SIDE, SIDE), torch.zeros(1, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match="a colour, an id or a label for every object"):
        LearnedExample("SegGPT", *pictures, colour)
