"""Pretraining of the toy CLIP: its batches, losses and steps against loops written out."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from freeseg.data.shapes import UNSEEN, categories
from freeseg.data.shapes.crops import CropSet
from freeseg.data.shapes.phrases import random_phrase, words
from freeseg.engine import contrastive
from freeseg.engine.contrastive import PretrainSettings, pretrain, retrieval_accuracy
from freeseg.text.toy_clip import new_toy_clip

NAMES = [row.name for row in categories()]


def coded_crops(count: int) -> CropSet:
    """Every crop tells its number, whether it is plain, and which column is its first."""
    masked = torch.zeros(count, 3, 2, 4, dtype=torch.uint8)
    masked[:, 0] = torch.arange(count, dtype=torch.uint8)[:, None, None]
    masked[:, 2] = torch.arange(4, dtype=torch.uint8)
    plain = masked.clone()
    plain[:, 1] = 1
    classes = (torch.arange(count) * 7) % 11
    return CropSet(masked, plain, classes, masked[:3], ("a", "b", "c"))


def test_a_batch_is_of_any_crops_mirrored_and_masked_at_random():
    train, count = coded_crops(40), 6000
    pictures, classes = contrastive._crops(np.random.default_rng(1), train, count)
    assert pictures.dtype == torch.uint8
    numbers, is_plain = pictures[:, 0, 0, 0].long(), pictures[:, 1, 0, 0].bool()
    is_mirrored = pictures[:, 2, 0, 0] == 3
    assert torch.equal(classes, train.classes[numbers])
    whole = torch.where(is_plain[:, None, None, None], train.plain[numbers], train.masked[numbers])
    mirrored = whole[:, :, :, [3, 2, 1, 0]]
    assert torch.equal(pictures, torch.where(is_mirrored[:, None, None, None], mirrored, whole))
    # six standard deviations
    assert abs(is_plain.float().mean() - 0.4) < 6 * math.sqrt(0.24 / count)
    assert abs(is_mirrored.float().mean() - 0.5) < 6 * math.sqrt(0.25 / count)
    assert abs((is_plain & is_mirrored).float().mean() - 0.2) < 6 * math.sqrt(0.16 / count)
    frequency = torch.bincount(numbers, minlength=40).float() / count
    assert ((frequency - 1 / 40).abs() < 6 * math.sqrt(1 / 40 / count)).all()


def test_crops_find_their_names_and_names_their_crops():
    torch.manual_seed(0)
    logits, classes = 2 * torch.randn(5, 7), torch.tensor([6, 2, 6, 0, 6])
    among_names = -sum(math.log(math.exp(row[c]) / sum(map(math.exp, row))) for row, c in
                       zip(logits.tolist(), classes.tolist())) / 5  # fmt: skip
    among_crops = 0.0
    for label in (0, 2, 6):
        column = logits[:, label].tolist()
        members = [place for place, one in enumerate(classes.tolist()) if one == label]
        whole = sum(map(math.exp, column))
        among_crops -= sum(math.log(math.exp(column[one]) / whole) for one in members) / len(
            members
        )
    expected = (among_names + among_crops / 3) / 2
    assert float(contrastive._crop_loss(logits, classes)) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def toy():
    torch.manual_seed(3)
    return new_toy_clip(words()).eval()


def test_texts_become_rows_as_long_as_the_longest(toy, caplog):
    texts = ["a red star.", "sand", "a photo of a hippo"]
    ids, ends = contrastive._tokens(toy, texts)
    assert not caplog.records, "unknown words are there on purpose"
    whole = toy.tokenize(texts)
    length = int(ends.max()) + 1
    assert ids.shape == (3, length)
    assert torch.equal(ids, whole[:, :length])
    assert (whole[:, length:] == toy.pad_id).all()
    assert [row[end] for row, end in zip(ids.tolist(), ends.tolist())] == [toy.end_id] * 3


@torch.no_grad()
def test_logits_are_scaled_cosines(toy):
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    texts = ["a red star", "sand"]
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (toy.pixel_mean, toy.pixel_std))
    images = toy.encode_image((pictures / 255 - mean) / std)
    text = toy(toy.tokenize(texts))
    expected = [[float(F.cosine_similarity(one, other, dim=0)) for other in text] for one in images]
    scale = float(toy.logit_scale.exp())
    found = contrastive._logits(toy, pictures, texts)
    torch.testing.assert_close(found, scale * torch.tensor(expected), rtol=1e-4, atol=1e-4)


class Knowing(nn.Module):
    """Sees the class that a crop's first pixel names, one lower where its second says so."""

    pixel_mean, pixel_std = (0.0,) * 3, (1.0,) * 3

    def embed_tokens(self, ids):
        return ids

    def encode_embeddings(self, embeddings, ends):
        size = torch.ones(len(NAMES), 1)
        size[5] = 99.0  # only directions count
        return size * torch.cat([torch.eye(len(NAMES)), torch.full_like(size, 0.9)], dim=1)

    def encode_image(self, pictures):
        values = (255 * pictures).round().long()
        own = torch.eye(len(NAMES))[values[:, 0, 0, 0] - values[:, 0, 0, 1]]
        return torch.cat([own, torch.full((len(own), 1), 3.0)], dim=1)


def test_accuracy_counts_each_kind_and_group_by_itself(monkeypatch):
    asked = []
    monkeypatch.setattr(contrastive, "_tokens", lambda _, texts: (asked.extend(texts), 0, 0)[1:])
    unseen = NAMES.index(UNSEEN[0] if isinstance(UNSEEN, tuple) else sorted(UNSEEN)[0])
    seen = next(place for place, name in enumerate(NAMES) if name not in UNSEEN and place)
    classes = torch.tensor([seen] * 300 + [unseen] * 100)  # more than are looked at in one go
    masked = torch.zeros(400, 3, 1, 2, dtype=torch.uint8)
    masked[:, 0, 0, 0] = classes.byte()
    plain = masked.clone()
    masked[:60, 0, 0, 1] = masked[300:310, 0, 0, 1] = 1
    plain[:15, 0, 0, 1] = plain[300:375, 0, 0, 1] = 1
    found = retrieval_accuracy(Knowing(), CropSet(masked, plain, classes, masked[:1], ("",)))
    expected = {
        "masked_seen": 80.0,
        "masked_unseen": 90.0,
        "plain_seen": 95.0,
        "plain_unseen": 25.0,
    }
    assert found == pytest.approx(expected)
    assert asked == [f"a photo of a {name}." for name in NAMES]


class Tower(nn.Module):
    """Where `_logits` is replaced: scores of texts by their length."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 0.5))
        self.logit_scale = nn.Parameter(torch.tensor(4.6))


def simple_logits(model, pictures, texts):
    sizes = torch.tensor([[len(text), sum(map(ord, text)) % 17] for text in texts]).float() / 20
    seen = pictures.float().mean((1, 2, 3))[:, None] / 10
    own = model.weight[0] * seen * sizes[:, 0] + model.weight[1] * (seen - sizes[:, 1]).square()
    return model.logit_scale.exp() * (own + model.weight[2] * sizes[:, 0] * sizes[:, 1])


def stepped(model, train, settings):
    """The loop written out, with AdamW's own formula."""
    generator = np.random.default_rng(settings.seed)
    moments = {name: (0.0, 0.0) for name, _ in model.named_parameters()}
    for step in range(settings.steps):
        pictures, classes = contrastive._crops(generator, train, settings.crops)
        phrases = [random_phrase(generator, name) for name in NAMES]
        loss = contrastive._crop_loss(simple_logits(model, pictures, phrases), classes)
        chosen = generator.choice(3, settings.scenes, replace=False).tolist()
        pairs = simple_logits(model, train.scenes[chosen], [train.captions[one] for one in chosen])
        both = pairs.log_softmax(1).diagonal().mean() + pairs.log_softmax(0).diagonal().mean()
        loss = loss + 0.25 * -both / 2
        named = dict(model.named_parameters())
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        grads = {name: g for name, g in zip(named, found) if g is not None}
        size = math.sqrt(sum(float(one.square().sum()) for one in grads.values()))
        rise, fall = settings.warmup, settings.steps - settings.warmup
        share = (
            (step + 1) / rise if step < rise else (1 + math.cos(math.pi * (step - rise) / fall)) / 2
        )
        rate = settings.learning_rate * share
        with torch.no_grad():
            for name, grad in grads.items():
                grad = grad * min(1, 1 / (size + 1e-6))
                first, second = moments[name]
                first, second = 0.9 * first + 0.1 * grad, 0.999 * second + 0.001 * grad**2
                moments[name] = first, second
                unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
                named[name].mul_(1 - rate * settings.weight_decay)
                named[name].sub_(rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8))
            model.logit_scale.clamp_(max=math.log(100.0))
    return model


def test_steps_are_those_of_the_loop_written_out(monkeypatch):
    monkeypatch.setattr(contrastive, "_logits", simple_logits)
    train = coded_crops(20)
    settings = PretrainSettings(
        steps=7, crops=6, scenes=2, learning_rate=0.05, warmup=3, weight_decay=0.3, seed=4
    )
    expected, model = stepped(Tower(), train, settings), Tower()
    pretrain(model, train, settings)
    for name, value in expected.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), value, rtol=1e-4, atol=1e-5)
    high = Tower()
    nn.init.constant_(high.logit_scale, 9.0)
    pretrain(high, train, PretrainSettings(steps=1, crops=2, scenes=1))
    assert high.logit_scale.exp().item() == pytest.approx(100.0, rel=1e-4), "a limit, as CLIP's"


def test_the_log_tells_every_hundredth_step_and_the_last(monkeypatch, caplog):
    monkeypatch.setattr(contrastive, "_logits", simple_logits)
    monkeypatch.setattr(contrastive, "random_phrase", lambda _, name: name)
    monkeypatch.setattr(contrastive, "time", SimpleNamespace(perf_counter=iter(range(9)).__next__))
    settings = PretrainSettings(steps=102, crops=2, scenes=1, warmup=1)
    with caplog.at_level(logging.INFO, "freeseg"):
        pretrain(Tower(), coded_crops(5), settings)
    lines = [line for line in caplog.messages if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == [f"step {n} of 102" for n in (0, 100, 101)]
    assert [line.rsplit(", ", 1)[1] for line in lines] == ["1 s", "2 s", "3 s"]
    assert all(" right)" in line and "captions 0.000" in line for line in lines)


def test_a_pretraining_is_this_long_unless_told():
    assert vars(PretrainSettings()) == {
        **{"steps": 2400, "crops": 192, "scenes": 48, "learning_rate": 0.002, "warmup": 100},
        **{"weight_decay": 0.05, "seed": 0},
    }
