"""Boxes of names and phrases, from the scores of their words.

Shapes: Q queries, L text tokens, T texts, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from freeseg.structures import Frame, InstanceSet, Vocabulary
from freeseg.systems.grounding_dino.boxes import to_corners

Span = tuple[int, int]


def name_scores(word_logits: Tensor, spans: Sequence[Span]) -> Tensor:
    """Scores [Q, T] of names: the mean probability of their words, as in the release's evaluation.

    Args:
        word_logits: [Q, L].
        spans: Places (first, behind) of the tokens of every name.
    """
    weights = word_logits.new_zeros(len(spans), word_logits.shape[1])
    for row, (first, behind) in zip(weights, spans):
        row[first:behind] = 1 / (behind - first)
    return word_logits.sigmoid() @ weights.mT


def phrase_scores(word_logits: Tensor, span: Span) -> Tensor:
    """Scores [Q] of a phrase: the probability of its most probable word."""
    return word_logits[:, slice(*span)].sigmoid().amax(1)


def photo_boxes(boxes: Tensor, frame: Frame) -> Tensor:
    """Boxes [Q, 4], xyxy in photo pixels and inside, of boxes in shares of the picture."""
    height, width = frame.photo_size
    corners = to_corners(boxes) * boxes.new_tensor([width, height, width, height])
    limits = boxes.new_tensor([width, height, width, height])
    return corners.clamp(min=0).minimum(limits)


def class_boxes(
    scores: Tensor,
    boxes: Tensor,
    vocabulary: Vocabulary,
    frame: Frame,
    *,
    max_instances: int,
    min_score: float,
) -> InstanceSet:
    """The best of all queries under all classes, as in the release's evaluation.

    A query may answer for several classes.

    Args:
        scores: Of texts, [Q, T].
        boxes: In shares of the picture, [Q, T, 4]: parts of a list have queries of their own.
        vocabulary: Whose texts these are; a class has the score of its best one.
        frame: Of the image.
        max_instances: At most.
        min_score: At least.
    """
    if sum(map(len, vocabulary.synonyms)) > len(vocabulary):
        scores, boxes = _best_texts(scores, boxes, vocabulary)
    best = scores.flatten().topk(min(max_instances, scores.numel()))
    kept = best.values >= min_score
    places = best.indices[kept]
    return InstanceSet(
        masks=None,
        boxes=photo_boxes(boxes.flatten(0, 1)[places], frame),
        labels=places % max(len(vocabulary), 1),
        scores=best.values[kept],
        size=frame.photo_size,
    )


def _best_texts(scores: Tensor, boxes: Tensor, vocabulary: Vocabulary) -> tuple[Tensor, Tensor]:
    """Scores [Q, K] and boxes [Q, K, 4] of the best text of every class."""
    counts = [len(texts) for texts in vocabulary.synonyms]
    rows = torch.arange(len(scores), device=scores.device)
    found = []
    for some, where in zip(scores.split(counts, dim=1), boxes.split(counts, dim=1)):
        best = some.max(dim=1)
        found.append((best.values, where[rows, best.indices]))
    values, chosen = zip(*found)
    return torch.stack(values, dim=1), torch.stack(chosen, dim=1)
