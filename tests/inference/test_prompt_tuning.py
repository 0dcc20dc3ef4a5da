"""Gradient steps on the class tokens at test time."""

from __future__ import annotations

import pytest
import torch

from freeseg.inference import TuningSettings, tune_class_tokens
from freeseg.inference.prompt_tuning import entropy


def test_entropy_is_shannons():
    logits = torch.tensor([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    probs = logits.softmax(-1)
    expected = -(probs * probs.clamp(min=1e-30).log()).sum(-1)
    torch.testing.assert_close(entropy(logits), expected)


def scores(tokens: torch.Tensor) -> torch.Tensor:
    """Three proposals over two classes: a sure one, a less sure one, an unsure one."""
    scale = tokens.sum()
    return torch.stack(
        [torch.stack([2 * scale, scale * 0]), torch.stack([scale, scale * 0]), tokens[:, 0] * 0]
    )


@pytest.mark.parametrize(("ratio", "steps"), [(1.0, 1), (0.34, 5)])
def test_steps_lower_the_entropy_of_the_kept_proposals(ratio, steps):
    start = torch.full((2, 3), 0.1)
    settings = TuningSettings(num_steps=steps, learning_rate=0.05, keep_ratio=ratio)
    with torch.inference_mode():
        tuned = tune_class_tokens(start, scores, settings)
    assert entropy(scores(tuned))[0] < entropy(scores(start))[0]
    assert torch.equal(start, torch.full((2, 3), 0.1))
    assert not tuned.requires_grad


def test_unsure_proposals_do_not_count():
    """Only the kept third moves the tokens: what the others say changes nothing."""
    settings = TuningSettings(num_steps=3, learning_rate=0.05, keep_ratio=0.34)
    start = torch.full((2, 2), 0.1)

    def other(tokens):
        return torch.cat([scores(tokens)[:1], tokens.sum().expand(2, 2) * torch.tensor([0.1, 0.0])])

    torch.testing.assert_close(
        tune_class_tokens(start, scores, settings), tune_class_tokens(start, other, settings)
    )


def test_no_steps_change_nothing():
    start = torch.randn(2, 3)
    assert torch.equal(tune_class_tokens(start, scores, TuningSettings(num_steps=0)), start)


@pytest.mark.parametrize(("steps", "ratio"), [(-1, 0.5), (1, 0.0), (1, 1.5)])
def test_impossible_settings_are_refused(steps, ratio):
    with pytest.raises(ValueError, match="at least 0 steps and a keep ratio in"):
        TuningSettings(num_steps=steps, keep_ratio=ratio)
