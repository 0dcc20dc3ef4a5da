"""Signs of doubt are their formulas, pixel by pixel, and come in the order of the photos."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from freeseg.evaluation.doubt import auroc, dense_signs_of, measure_signs, signs_of

SHARES = ("largest class share at a pixel (max softmax)", "minus entropy of the classes at a pixel")


def softmax(values) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def energy(values) -> float:
    return math.log(sum(math.exp(value) for value in values))


def of_masks(class_logits, mask_logits) -> dict[str, float]:
    """Every sign as a mean over pixels, by loops."""
    probs = [softmax(row) for row in class_logits.tolist()]
    _, height, width = mask_logits.shape
    rows: list[list[float]] = []
    for y in range(height):
        for x in range(width):
            seen = [1 / (1 + math.exp(-value)) for value in mask_logits[:, y, x].tolist()]
            scores = [sum(p[k] * s for p, s in zip(probs, seen)) for k in range(len(probs[0]) - 1)]
            shares = [score / sum(scores) for score in scores]
            claims = [max(p[:-1]) * s for p, s in zip(probs, seen)]
            owner = class_logits[claims.index(max(claims)), :-1].tolist()
            entropy = sum(share * math.log(share) for share in shares)
            rows.append([max(claims), max(shares), entropy, energy(owner), max(owner)])
    names = ("certainty", *SHARES, "energy of a pixel's query", "largest logit of a pixel's query")
    something = sum(1 - p[-1] for p in probs) / len(probs)
    means = dict(zip(names, np.mean(rows, axis=0).tolist()))
    return {**means, 'mean probability of not being "no object"': something}


def test_signs_of_masks_are_their_formulas():
    torch.manual_seed(4)
    class_logits, mask_logits = 3 * torch.randn(5, 4), 4 * torch.randn(5, 3, 6)
    found = signs_of(class_logits, mask_logits)
    assert found == pytest.approx(of_masks(class_logits, mask_logits), rel=1e-4)


def of_pixels(logits, scale) -> dict[str, float]:
    rows = []
    for column in logits.flatten(1).T.tolist():
        shares, ordered = softmax(column), sorted(column)
        first, second = ordered[-1], ordered[-min(2, len(ordered))]
        entropy = sum(share * math.log(share) for share in shares)
        nearness = (energy(column) - math.log(len(column))) / scale
        rows.append([0.5 + 0.5 * nearness, max(shares), entropy, first, first - second])
    names = ("certainty", *SHARES, "largest logit at a pixel", "largest logit less the second")
    return dict(zip(names, np.mean(rows, axis=0).tolist()))


@pytest.mark.parametrize("num_classes", [1, 2, 5])
def test_signs_of_pixels_are_their_formulas(num_classes):
    torch.manual_seed(5)
    logits = 2 * torch.randn(num_classes, 3, 7)
    found = dense_signs_of(logits, 2.5)
    assert found == pytest.approx(of_pixels(logits, 2.5), rel=1e-4, abs=1e-6)


def test_signs_of_nothing_and_of_certainty_are_numbers():
    """Masks that claim nothing, and classes that have everything."""
    nothing = signs_of(torch.zeros(2, 4), torch.full((2, 3, 5), -200.0))
    everything = signs_of(torch.tensor([[200.0, -200, -200, -200]]), torch.full((1, 3, 5), 200.0))
    assert all(math.isfinite(value) for value in [*nothing.values(), *everything.values()])
    assert everything[SHARES[0]] == pytest.approx(1)
    assert everything[SHARES[1]] == pytest.approx(0, abs=1e-6)


class Model:
    def certainty(self, *_):
        return 0.125


class Photos:
    """A segmenter whose model is asked for its certainty with what every photo has."""

    tasks = ("panoptic", "semantic")

    def __init__(self, content) -> None:
        self.model, self.content = Model(), content
        self.asked: list[tuple[str, str]] = []

    def __call__(self, photo, task):
        self.asked.append((photo, task))
        computed, panoptic = self.content[photo]
        self.model.certainty(*computed)
        return SimpleNamespace(panoptic=panoptic)


def panoptic(ids, *scores):
    segments = [SimpleNamespace(score=score) for score in scores]
    return SimpleNamespace(segment_ids=np.array(ids), segments=segments)


def test_photos_are_measured_in_their_order():
    torch.manual_seed(6)
    masks, classes = torch.randn(2, 3, 4, 6), torch.randn(2, 3, 5)
    content = {
        "a": ((classes[0], masks[0]), panoptic([[0, 3], [7, 7]], 0.5, None)),
        "b": ((classes[1], masks[1]), panoptic([[0, 0], [0, 1]], 0.25)),
    }
    segmenter = Photos(content)
    found = measure_signs(segmenter, ["b", "a"])
    assert segmenter.model.certainty() == 0.125, "its own again"
    assert segmenter.asked == [("b", "panoptic"), ("a", "panoptic")]
    expected = [signs_of(classes[1], masks[1]), signs_of(classes[0], masks[0])]
    for name in expected[0]:
        assert found[name].tolist() == pytest.approx([row[name] for row in expected])
    assert found["labelled share"].tolist() == [0.25, 0.75]
    assert found["score of a segment, alone"].tolist() == [0.25, 0.5, 0.0]


def test_a_model_without_segments_has_the_signs_of_pixels_alone():
    logits = torch.randn(3, 2, 4)
    found = measure_signs(Photos({"a": ((logits, 2.0), None)}), ["a"])
    assert {name: values.tolist() for name, values in found.items()} == {
        name: [value] for name, value in dense_signs_of(logits, 2.0).items()
    }


def test_auroc_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(0)
    known, foreign = random.integers(2, 9, 13), random.integers(0, 7, 8)
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in known for b in foreign]
    assert auroc(known, foreign) == pytest.approx(np.mean(pairs))
    assert 0.5 < auroc(known, foreign) < 1
