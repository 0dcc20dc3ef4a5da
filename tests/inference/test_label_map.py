"""Label maps of very many labels: equal to the best of all scores, without having them all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from freeseg.inference import label_map, upsample
from freeseg.structures import ImageFeatures, Vocabulary

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
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
    wanted = upsample(head(encoded, text, labels)[0], encoded, 0, size).argmax(0)
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
