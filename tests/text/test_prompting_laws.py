"""Features of prompts against loops written out, and lengths at the limit and one beside."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import torch

from freeseg.text import LearnedPrompts, TemplatePrompts
from freeseg.text import prompting as module

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_clip import tiny_clip

WIDTH = 24


@pytest.fixture(scope="module")
def encoder():
    return tiny_clip()


def unit(values: torch.Tensor) -> torch.Tensor:
    return values / (values**2).sum().sqrt()


@torch.no_grad()
@pytest.mark.parametrize("batch", [2, 3, 256])
def test_a_feature_is_the_mean_of_the_unit_features_of_its_sentences(encoder, monkeypatch, batch):
    monkeypatch.setattr(module, "BATCH", batch)
    templates = ("a {}.", "{}", "many {}s and one {}", "it is {}!")
    names = ["cat", "o", "red tree", "a {} b", "sky"]
    found = TemplatePrompts(templates)(encoder, names, "instance")
    for name, feature in zip(names, found):
        total = torch.zeros(16)
        for template in templates:
            sentence = template.replace("{}", name)
            total += unit(encoder(encoder.tokenize([sentence]))[0])
        torch.testing.assert_close(feature, unit(total / len(templates)), rtol=1e-5, atol=1e-5)
    assert found.shape == (5, 16)


@torch.no_grad()
def test_sentences_are_weighed_alike_however_long_their_features_are(encoder):
    """A mean of features that are not normalised would follow the longest."""
    scaled = tiny_clip()
    scales = {"a cat": 100.0, "cat.": 0.01}
    plain = scaled.encode_embeddings
    ids = {name: encoder.tokenize([name])[0] for name in scales}

    def encode(embeddings, ends):
        factors = [
            next(
                scale
                for name, scale in scales.items()
                if torch.equal(encoder.embed_tokens(ids[name])[: len(row)], row)
            )
            for row in embeddings
        ]
        return plain(embeddings, ends) * torch.tensor(factors)[:, None]

    scaled.encode_embeddings = encode
    learner = TemplatePrompts(["a {}", "{}."])
    torch.testing.assert_close(
        learner(scaled, ["cat"], "semantic"), learner(encoder, ["cat"], "semantic")
    )


@pytest.mark.parametrize("templates", [["a {}", "the"], ["{"], ["a }{"]])
def test_every_template_needs_a_place_for_the_name(templates):
    with pytest.raises(ValueError, match="wanted templates with"):
        TemplatePrompts(templates)


def test_identities_are_told_apart_by_all_that_features_depend_on():
    torch.manual_seed(0)
    one = LearnedPrompts(width=4, num_class_tokens=2, num_task_tokens=1, num_suffix_tokens=1)
    seen = {one.identity}
    for row in (one.prefix_prompt, one.task_prompt, one.suffix_prompt):
        with torch.no_grad():
            row[0, 0] += 1
        seen.add(one.identity)
    templates = (["a {}", "b {}"], ["b {}", "a {}"], ["a {}"], ['a {}", "b {}'])
    seen |= {TemplatePrompts(each).identity for each in templates}
    assert len(seen) == 8
    assert {each.split("-")[0] for each in seen} == {"LearnedPrompts", "TemplatePrompts"}


def learner(num_suffix_tokens=0, **changes) -> LearnedPrompts:
    torch.manual_seed(3)
    sizes = {"width": WIDTH, "num_class_tokens": 3, "num_task_tokens": 2}
    return LearnedPrompts(**{**sizes, **changes}, num_suffix_tokens=num_suffix_tokens)


@torch.no_grad()
@pytest.mark.parametrize("num_suffix_tokens", [0, 2])
@pytest.mark.parametrize("spare", [1, 0])
def test_a_prompt_may_leave_one_token_to_the_name_and_not_none(encoder, spare, num_suffix_tokens):
    """Start, dot and end are three more; the tiny CLIP reads 40 tokens, each a letter."""
    room = encoder.context_length - 3 - num_suffix_tokens
    many = learner(num_suffix_tokens, uses_task=False, num_class_tokens=room - spare)
    if not spare:
        with pytest.raises(ValueError, match=f"prompts of {38} tokens leave no room"):
            many(encoder, ["c"], "semantic")
        return
    found = many(encoder, ["c", "cat"], "semantic")
    torch.testing.assert_close(found[0], found[1])


@torch.no_grad()
def test_a_name_of_just_the_room_is_whole_and_of_a_longer_one_the_start(encoder, caplog):
    prompts = learner(uses_task=False, num_class_tokens=30)  # of 40 seven are left
    with caplog.at_level(logging.WARNING):
        whole = prompts(encoder, ["abcdefg", "abcdef"], "semantic")
    assert not caplog.records
    assert (whole[0] - whole[1]).abs().max() > 1e-4
    cut = prompts(encoder, ["abcdefgh", "abcdefg"], "semantic")
    torch.testing.assert_close(cut[0], cut[1])
    assert [record.args[1:] for record in caplog.records] == [(8, 7)]


@pytest.mark.parametrize("uses_task", [True, False])
@torch.no_grad()
def test_a_batch_is_as_many_texts_one_by_one(encoder, monkeypatch, uses_task):
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module, "TASK_TEXTS", {"semantic": "s.", "panoptic": "pa."})
    prompts = learner(1, uses_task=uses_task)
    names = ["cat", "o", "tree top", "sky", "a"]
    for task in ("semantic", "panoptic"):
        together = prompts(encoder, names, task)
        alone = torch.cat([prompts(encoder, [name], task) for name in names])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.norm(dim=-1), torch.ones(5))


def test_with_gradients_all_texts_are_encoded_at_once(encoder, monkeypatch):
    """Else only the last part of a batch would be learned from."""
    monkeypatch.setattr(module, "BATCH", 2)
    prompts = learner(uses_task=False)
    lengths, plain = [], encoder.encode_embeddings
    monkeypatch.setattr(
        encoder,
        "encode_embeddings",
        lambda rows, ends: lengths.append(len(rows)) or plain(rows, ends),
    )
    found = prompts(encoder, ["cat", "o", "sea"], "semantic")
    found[0, 0].backward()
    assert lengths == [3]
    first = prompts.prefix_prompt.grad.clone()
    prompts.prefix_prompt.grad = None
    prompts(encoder, ["cat"], "semantic")[0, 0].backward()
    torch.testing.assert_close(first, prompts.prefix_prompt.grad)


@pytest.mark.parametrize("kind", ["class", "task", "suffix"])
def test_start_values_of_every_kind_of_tokens(kind):
    torch.manual_seed(0)
    prompts = LearnedPrompts(
        width=400, num_class_tokens=11, num_task_tokens=13, num_suffix_tokens=17
    )
    tokens = {"class": prompts.prefix_prompt, "suffix": prompts.suffix_prompt}
    values = tokens.get(kind, prompts.task_prompt)
    assert values.shape == ({"class": 11, "task": 13, "suffix": 17}[kind], 400)
    expected = (2 / (1 + 2**2) / 400) ** 0.5 if kind == "task" else 0.02
    assert values.std().item() == pytest.approx(expected, rel=0.06)
    assert abs(values.mean().item()) < 0.1 * expected
