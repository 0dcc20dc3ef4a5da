"""Sentences around class names: what they consist of, and what is learned in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from freeseg.text import LearnedPrompts, TemplatePrompts

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_clip import Letters, tiny_clip

WIDTH = 24


@pytest.fixture(scope="module")
def encoder():
    return tiny_clip()


def prompts(**changes) -> LearnedPrompts:
    torch.manual_seed(3)
    arguments = {"width": WIDTH, "num_class_tokens": 3, "num_task_tokens": 2}
    return LearnedPrompts(**{**arguments, **changes})


class ShortTasks(Letters):
    """Tasks of five tokens, which leaves room for names in a small context."""

    def encode(self, text: str) -> list[int]:
        task, is_task, _ = text.partition(" segmentation")
        return [ord(letter) % 128 for letter in (task[:5] if is_task else text)]


@pytest.fixture(scope="module")
def short():
    clip = tiny_clip()
    clip.tokenizer = ShortTasks()
    return clip


@pytest.mark.parametrize(
    "learner", [TemplatePrompts(["a {}."]), prompts()], ids=["fixed", "learned"]
)
@torch.no_grad()
def test_nothing_after_the_longest_sentence_is_encoded(short, learner, monkeypatch):
    seen = []
    whole = short.encode_embeddings

    def encode(embeddings, ends):
        seen.append((embeddings.shape[1], int(ends.max()) + 1))
        blank = embeddings.new_zeros(len(ends), short.context_length - embeddings.shape[1], WIDTH)
        padded = whole(torch.cat([embeddings, blank], dim=1), ends)
        torch.testing.assert_close(whole(embeddings, ends), padded, atol=1e-5, rtol=0)
        return padded

    monkeypatch.setattr(short, "encode_embeddings", encode)
    learner(short, ["o", "tree"], "panoptic")
    ((length, needed),) = seen
    assert length == needed < short.context_length


@pytest.mark.parametrize("num_suffix_tokens", [0, 1, 4])
@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
@torch.no_grad()
def test_parity_a_sentence_is_task_start_class_tokens_name_suffix_dot_end(
    short, task, num_suffix_tokens
):
    """Parity: the task stands before the start token, the dot behind all learned tokens."""
    learner = prompts(num_suffix_tokens=num_suffix_tokens)
    suffix = [learner.suffix_prompt] if num_suffix_tokens else []
    names = ["cat", "o", "tree"]
    found = learner(short, names, task)
    for name, feature in zip(names, found):
        table = short.token_embedding.weight
        words = short.word_ids(name)
        sentence = torch.cat(
            [
                table[short.word_ids(f"{task} segmentation.")],
                learner.task_prompt,
                table[[short.start_ids[0]]],
                learner.prefix_prompt,
                table[words],
                *suffix,
                table[[*short.word_ids("."), short.end_id]],
            ]
        )
        expected = short.encode_embeddings(sentence[None], torch.tensor([len(sentence) - 1]))
        torch.testing.assert_close(feature, F.normalize(expected[0], dim=-1))


@torch.no_grad()
def test_tasks_differ_exactly_when_the_task_is_used(short):
    with_task, without = prompts(), prompts(uses_task=False)
    first, second = (with_task(short, ["cat"], task) for task in ("semantic", "panoptic"))
    assert (first - second).abs().max() > 1e-3
    assert torch.equal(without(short, ["cat"], "semantic"), without(short, ["cat"], "panoptic"))
    assert len(without.task_prompt) == 0


@torch.no_grad()
def test_order_and_number_of_names_do_not_matter(short):
    learner = prompts()
    names = [f"{first}{second}" for first in "abcdefghij" for second in "klmnopqrst" * 3]
    together = learner(short, names, "semantic")  # more than are encoded at once
    alone = torch.cat([learner(short, [name], "semantic") for name in names[:3]])
    torch.testing.assert_close(together[:3], alone)
    torch.testing.assert_close(learner(short, names[::-1], "semantic"), together.flip(0))


@pytest.mark.parametrize("num_suffix_tokens", [0, 3])
def test_gradients_reach_the_learned_tokens_alone(short, num_suffix_tokens):
    learner = prompts(num_suffix_tokens=num_suffix_tokens)
    learner(short, ["cat", "o"], "semantic").sum().backward()
    names = {"prefix_prompt", "task_prompt", *["suffix_prompt"] * bool(num_suffix_tokens)}
    assert {name for name, _ in learner.named_parameters()} == names
    assert all(weight.grad.abs().max() > 0 for weight in learner.parameters())
    assert all(weight.grad is None for weight in short.parameters())


@torch.no_grad()
def test_given_class_tokens_replace_the_learned_ones(short):
    learner, other = prompts(), prompts()
    torch.nn.init.normal_(other.prefix_prompt)
    given = learner(short, ["cat"], "semantic", class_tokens=other.prefix_prompt)
    other.task_prompt.copy_(learner.task_prompt)
    assert torch.equal(given, other(short, ["cat"], "semantic"))


def test_a_long_name_is_cut_and_a_long_prompt_refused(short, caplog):
    learner = prompts()
    with torch.no_grad():
        feature = learner(short, ["x" * 5, "cat" * 40], "semantic")
    assert feature.shape == (2, 16)
    with pytest.raises(ValueError, match="prompts of 40 tokens leave no room"):
        prompts(num_class_tokens=32)(short, ["cat"], "semantic")


@torch.no_grad()
def test_every_suffix_token_counts_and_none_is_as_it_was(short):
    plain, learner = prompts(), prompts(num_suffix_tokens=2)
    assert set(plain.state_dict()) == {"prefix_prompt", "task_prompt"}
    shapes = {key: tuple(value.shape) for key, value in learner.state_dict().items()}
    assert shapes == {
        "prefix_prompt": (3, WIDTH),
        "suffix_prompt": (2, WIDTH),
        "task_prompt": (2, WIDTH),
    }
    learner.prefix_prompt.copy_(plain.prefix_prompt)
    learner.task_prompt.copy_(plain.task_prompt)
    before = learner(short, ["cat", "oak"], "panoptic")
    assert (before - plain(short, ["cat", "oak"], "panoptic")).abs().max() > 1e-4
    for row in learner.suffix_prompt:
        identity = learner.identity
        row.normal_()
        after = learner(short, ["cat", "oak"], "panoptic")
        assert ((after - before).abs().amax(dim=1) > 1e-4).all()
        assert learner.identity != identity
        before = after


@torch.no_grad()
def test_a_name_is_cut_so_that_the_suffix_stays(short):
    """Task 5, task tokens 2, start, class tokens 3, dot and end leave the rest to the name."""
    for num_suffix_tokens in (0, 4):
        learner = prompts(num_suffix_tokens=num_suffix_tokens)
        room = short.context_length - 13 - num_suffix_tokens
        name = "a red cat that sleeps on a high wall"[:room]
        longer, other = f"{name}s of brick", f"{name[:-1]}~"
        features = learner(short, [name, longer, other], "semantic")
        torch.testing.assert_close(features[0], features[1])
        assert (features[0] - features[2]).abs().max() > 1e-5  # the last token that fits is read
    with pytest.raises(ValueError, match="prompts of 38 tokens leave no room"):
        prompts(num_suffix_tokens=27)(short, ["cat"], "semantic")


@torch.no_grad()
def test_templates_are_averaged_and_know_no_task(encoder):
    learner = TemplatePrompts(["a {}", "the {}s"])
    assert learner.uses_task is False
    found = learner(encoder, ["cat"], "semantic")
    parts = F.normalize(encoder(encoder.tokenize(["a cat", "the cats"])), dim=-1)
    torch.testing.assert_close(found[0], F.normalize(parts.mean(0), dim=0))
    assert torch.equal(found, learner(encoder, ["cat"], "panoptic"))


def test_templates_without_a_place_for_the_name_are_refused():
    with pytest.raises(ValueError, match="wanted templates with"):
        TemplatePrompts(["a photo"])
    with pytest.raises(ValueError, match="wanted templates with"):
        TemplatePrompts([])


def test_identity_follows_what_features_depend_on():
    learner = prompts()
    before = learner.identity
    assert prompts().identity == before
    with torch.no_grad():
        learner.prefix_prompt.add_(1)
    assert learner.identity != before
    assert TemplatePrompts(["a {}"]).identity != TemplatePrompts(["the {}"]).identity


def test_start_values_are_the_releases():
    torch.manual_seed(0)
    learner = LearnedPrompts(width=512, num_class_tokens=16, num_task_tokens=8)
    assert learner.prefix_prompt.shape == (16, 512)
    assert learner.prefix_prompt.std().item() == pytest.approx(0.02, rel=0.05)
    # Kaiming with slope 2 over 512 inputs: sqrt(2 / (1 + 2^2) / 512)
    assert learner.task_prompt.std().item() == pytest.approx((0.4 / 512) ** 0.5, rel=0.05)
