"""Gradient steps on the class tokens at test time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from freeseg.structures import Vocabulary
from freeseg.systems.freeseg.tuning import PromptTuner, TuningSettings, entropy, tune_class_tokens
from freeseg.text import ClipAdapter, LearnedPrompts

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny_clip import tiny_clip


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


@pytest.mark.parametrize("least", [(0, 0.001), (1, 1.0)], ids=str)
def test_least_and_largest_settings_are_taken(least):
    steps, ratio = least
    assert TuningSettings(num_steps=steps, keep_ratio=ratio).keep_ratio == ratio


def softmax(rows):
    powers = np.exp(rows - rows.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def adam_w(start, slopes, kept, rate, steps):
    """Tokens after steps of AdamW (arXiv 1711.05101) down the mean entropy of the kept rows.

    Scores are `slopes` [N, U, W] times tokens [W]; dH/dz = -p (log p + H) for every row.
    """
    tokens, first, second = start.copy(), 0.0, 0.0
    for step in range(1, steps + 1):
        probs = softmax(slopes @ tokens)[kept]
        entropies = -(probs * np.log(probs)).sum(-1, keepdims=True)
        by_score = -probs * (np.log(probs) + entropies)
        gradient = (by_score[..., None] * slopes[kept]).sum(1).mean(0)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        ahead = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        tokens -= rate * first / (1 - 0.9**step) / ahead
    return tokens


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize(("ratio", "count"), [(0.01, 1), (0.3, 2), (0.5, 4), (0.8, 6), (1.0, 7)])
def test_steps_are_those_of_a_loop_written_out(steps, ratio, count):
    """The kept proposals are those of least entropy before the first step, of seven."""
    chance = np.random.default_rng(0)
    slopes, start = chance.normal(size=(7, 3, 4)), chance.normal(size=4)
    probs = softmax(slopes @ start)
    kept = np.argsort(-(probs * np.log(probs)).sum(-1))[:count]
    scale = torch.from_numpy(slopes)
    settings = TuningSettings(num_steps=steps, learning_rate=0.3, keep_ratio=ratio)
    found = tune_class_tokens(torch.from_numpy(start), lambda tokens: scale @ tokens, settings)
    expected = adam_w(start, slopes, kept, 0.3, steps)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


LIST = Vocabulary(
    ("cat", "dog", "sky", "cow"),
    (True, True, False, True),
    (True, False, True, False),
    (("cat",), ("dog", "hound"), ("sky",), ("cow",)),
)
SETTINGS = TuningSettings(num_steps=2, learning_rate=0.3, keep_ratio=0.5)


@pytest.fixture
def adapter():
    torch.manual_seed(0)
    clip = tiny_clip()
    prompts = LearnedPrompts(width=clip.width, num_class_tokens=3, num_task_tokens=2)
    return ClipAdapter(clip_model=clip, prompt_learner=prompts.requires_grad_(False))


def proposals_of(seed, count=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 16, generator=generator)


def tuned(adapter, tokens, proposals, scale=10.0):
    """Tokens by the unseen classes: the dog by the better of its two texts, and the cow."""

    def logits(tokens):
        text = adapter.class_features(["dog", "hound", "cow"], "instance", class_tokens=tokens)
        dog, hound, cow = (scale * F.normalize(proposals, dim=-1) @ text.T).unbind(1)
        return torch.stack([dog.maximum(hound), cow], dim=1)

    return tune_class_tokens(tokens, logits, SETTINGS)


@pytest.mark.parametrize("per_dataset", [False, True])
@torch.inference_mode()
def test_images_begin_with_the_models_tokens_or_where_the_last_one_ended(adapter, per_dataset):
    own = adapter.prompt_learner.prefix_prompt.clone()
    tuner = PromptTuner(SETTINGS, per_dataset=per_dataset)
    for _ in range(2):
        tokens = own
        for seed in range(2):
            proposals = proposals_of(seed)
            found = tuner(adapter, LIST, "instance", proposals, 10.0)
            tokens = tuned(adapter, tokens if per_dataset else own, proposals)
            wanted = adapter.class_features(LIST.texts, "instance", class_tokens=tokens)
            torch.testing.assert_close(found, wanted)
        assert torch.equal(adapter.prompt_learner.prefix_prompt, own)
        tuner.clear()


@pytest.mark.parametrize("per_dataset", [False, True])
@torch.inference_mode()
def test_nothing_to_choose_between_leaves_the_tokens(adapter, per_dataset):
    plain = adapter.class_features(LIST.texts, "instance")
    tuner = PromptTuner(SETTINGS, per_dataset=per_dataset)
    torch.testing.assert_close(tuner(adapter, LIST, "instance", proposals_of(0, 0), 10.0), plain)
    one_unseen = Vocabulary(LIST.names, LIST.is_thing, (True, True, False, True), LIST.synonyms)
    found = tuner(adapter, one_unseen, "instance", proposals_of(0), 10.0)
    torch.testing.assert_close(found, plain)
    assert (tuner(adapter, LIST, "instance", proposals_of(0), 10.0) - plain).abs().max() > 1e-3


def test_steps_leave_no_gradient_in_the_models_weights(adapter):
    prompts = adapter.prompt_learner.requires_grad_(True)
    found = PromptTuner(SETTINGS)(adapter, LIST, "instance", proposals_of(0), 10.0)
    assert {name for name, weight in prompts.named_parameters() if weight.grad is not None} == set()
    assert (found - adapter.class_features(LIST.texts, "instance")).abs().max() > 1e-3
