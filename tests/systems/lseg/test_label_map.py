"""Label maps of very many labels: equal to the best of all scores, without having them all."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from freeseg.inference import upsample
from freeseg.structures import ImageFeatures, Vocabulary
from freeseg.systems.lseg.label_map import label_map

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from largest_tensor import LargestTensor
from lseg_parts import random_head, random_texts

REGULARISATIONS = [("none", 0), ("depthwise", 2), ("bottleneck", 1), ("bottleneck", 3)]


def features(height, width, channels=6):
    torch.manual_seed(3)
    lengths = torch.rand(1, 1, height // 2, width // 2) + 0.5
    pixels = torch.randn(1, channels + 1, height // 4, width // 4)
    return ImageFeatures((lengths,), pixels, (height, width), ((height - 5, width - 3),))


def vocabulary(count, step=3):
    """Every third label has two texts."""
    names = tuple(map(str, range(count)))
    synonyms = tuple(
        (name, f"also {name}") if row % step == 0 else (name,) for row, name in enumerate(names)
    )
    return Vocabulary(names, (False,) * count, synonyms=synonyms)


@pytest.mark.parametrize(("kind", "depth"), REGULARISATIONS)
@pytest.mark.parametrize("size", [(59, 61), (100, 40)])
@torch.no_grad()
def test_parts_give_the_best_of_all(kind, depth, size):
    head, encoded, labels = random_head(kind, depth), features(64, 64), vocabulary(11)
    text = random_texts(len(labels.texts))
    wanted = upsample(head(encoded, text, labels)[0], encoded.frames[0], size).argmax(0)
    for values in (1, 3 * 100 * 40, 2**30):
        found = label_map(head, encoded, text, labels, size, values)
        assert found.dtype == torch.int64
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(("kind", "count", "side"), [("none", 1000, 480), ("bottleneck", 90, 240)])
@torch.no_grad()
def test_many_labels_never_have_all_their_maps(kind, count, side):
    head, encoded, labels = random_head(kind, 2), features(side, side), vocabulary(count, count)
    text, limit = random_texts(len(labels.texts)), 20 * side**2
    with LargestTensor() as largest:
        found = label_map(head, encoded, text, labels, (side, side), limit)
    assert found.shape == (side, side)
    assert len(found.unique()) > count / 10
    assert largest.values <= limit < count * side**2 / 4


class MapsAsTexts:
    """A head to which a label's text is its map."""

    head_block = None

    def classify(self, features, text, part):
        assert len(text) == len(part)
        return text.view(1, len(part), *features.padded_size)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_of_equal_labels_the_first_one_wins_in_whichever_part_it_is(count):
    maps = torch.randint(0, 4, (9, 6, 8), generator=torch.Generator().manual_seed(0)).float()
    encoded = ImageFeatures((), torch.zeros(1, 1, 6, 8), (6, 8), ((5, 7),))
    labels = Vocabulary(tuple("abcdefghi"), (False,) * 9)
    found = label_map(MapsAsTexts(), encoded, maps.flatten(1), labels, (5, 7), count * 48)
    assert np.array_equal(found, maps.numpy()[:, :5, :7].argmax(0))


@pytest.mark.parametrize(
    ("size", "values", "count"),
    [
        ((64, 64), 3 * 64 * 64, 3),
        ((64, 64), 3 * 64 * 64 - 1, 2),
        ((100, 80), 3 * 100 * 80, 3),
        ((100, 80), 3 * 100 * 80 - 1, 2),
        ((10, 10), 3 * 64 * 64 - 1, 2),
        ((64, 64), 1, 1),
    ],
)
@torch.no_grad()
def test_as_many_labels_at_once_as_there_is_room_for(monkeypatch, size, values, count):
    """Of the padded image or the output, whichever is larger."""
    head, encoded, labels = random_head(), features(64, 64), vocabulary(7)
    seen, classify = [], head.classify

    def watched(features, text, part):
        seen.append(part.names)
        return classify(features, text, part)

    monkeypatch.setattr(head, "classify", watched)
    label_map(head, encoded, random_texts(len(labels.texts)), labels, size, values)
    names = tuple(map(str, range(7)))
    assert seen == [names[start : start + count] for start in range(0, 7, count)]


@torch.no_grad()
def test_labels_beyond_a_byte_keep_their_numbers():
    head, encoded = random_head(), features(32, 32)
    labels = Vocabulary(tuple(map(str, range(300))), (False,) * 300)
    text = random_texts(300)
    found = label_map(head, encoded, text, labels, (32, 32), 100 * 32 * 32)
    wanted = upsample(head(encoded, text, labels)[0], encoded.frames[0], (32, 32)).argmax(0)
    assert torch.equal(found, wanted)
    assert found.max() > 256
