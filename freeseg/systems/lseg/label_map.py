"""The best label of every pixel out of very many, without all of their score maps at once.

Shapes: K labels, k of them at a time, T texts of them, D width of texts, h w size of the pixel
embeddings, H W size of the output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from freeseg.inference import upsample
from freeseg.structures import PyramidFeatures, Vocabulary
from freeseg.systems.lseg.head import LSegHead

MAX_VALUES = 2**24  # score values that are in memory at once: 64 MiB of float32


def label_map(
    head: LSegHead,
    features: PyramidFeatures,
    text: Tensor,
    vocabulary: Vocabulary,
    size: tuple[int, int],
    max_values: int = MAX_VALUES,
) -> Tensor:
    """Best label of every pixel of one image, int64 [H, W]; of equal ones the first.

    Labels go through the head in parts. A regularisation that looks at all labels at once needs
    one more pass for each of its applications, in which nothing but the maximum is kept.

    Args:
        head: Of the model.
        features: Of one image.
        text: Unit vectors [T, D] of the vocabulary's texts.
        vocabulary: K labels.
        size: (H, W).
        max_values: Most score values at once; one label's map is computed in any case.
    """
    largest = max(_area(size), _area(features.padded_size), 1)
    parts = _parts(vocabulary, max(1, max_values // largest))
    peaks = _peaks(head, features, text, parts)
    best: Tensor | None = None
    labels = torch.zeros(size, dtype=torch.int64, device=text.device)
    start = 0
    for part, rows in parts:
        logits = head.classify(features, text[rows], part)
        if head.head_block is not None:
            logits = head.head_block(logits, peaks)
        scores, winners = upsample(logits[0], features.frames[0], size).max(0)  # [H, W]
        winners += start
        if best is None:
            best, labels = scores, winners
        else:
            is_better = scores > best
            best = torch.where(is_better, scores, best)
            labels = torch.where(is_better, winners, labels)
        start += len(part)
    return labels


def _parts(vocabulary: Vocabulary, count: int) -> list[tuple[Vocabulary, list[int]]]:
    """Sub-lists of at most `count` labels each, and the rows of their texts."""
    chunks = [
        range(start, min(start + count, len(vocabulary)))
        for start in range(0, len(vocabulary), count)
    ]
    return [(vocabulary.select(chunk), vocabulary.text_rows(chunk)) for chunk in chunks]


def _peaks(
    head: LSegHead,
    features: PyramidFeatures,
    text: Tensor,
    parts: Sequence[tuple[Vocabulary, list[int]]],
) -> list[Tensor] | None:
    """The maximum over all labels [1, 1, h, w] before every application of the regularisation."""
    block = head.head_block
    if block is None or not block.has_bottleneck:
        return None
    peaks: list[Tensor] = []
    for _ in range(block.depth):
        highest: Tensor | None = None
        for logits in _until(head, features, text, parts, peaks):
            peak = logits.amax(1, keepdim=True)
            highest = peak if highest is None else torch.maximum(highest, peak)
        assert highest is not None
        peaks.append(highest)
    return peaks


def _until(
    head: LSegHead,
    features: PyramidFeatures,
    text: Tensor,
    parts: Sequence[tuple[Vocabulary, list[int]]],
    peaks: Sequence[Tensor],
) -> Iterator[Tensor]:
    """Logits [1, k, h, w] of every part after as many applications as there are peaks."""
    block = head.head_block
    assert block is not None
    for part, rows in parts:
        logits = head.classify(features, text[rows], part)
        for step, peak in enumerate(peaks):
            logits = block.apply_once(logits, step, peak)
        yield logits


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
