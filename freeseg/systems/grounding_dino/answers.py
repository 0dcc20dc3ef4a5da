"""Boxes of names and phrases, from the scores of their words.

Shapes: Q queries, T text tokens, K texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from freeseg.structures import Frame, InstanceSet, Vocabulary
from freeseg.systems.grounding_dino.boxes import to_corners

Span = tuple[int, int]


def name_scores(word_logits: Tensor, spans: Sequence[Span]) -> Tensor:
    """Scores [Q, K] of names: the mean probability of their words, as in the release's evaluation.

    Args:
        word_logits: [Q, T].
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
        scores: Of texts, [Q, K].
        boxes: In shares of the picture, [Q, 4], or of every text its own, [Q, K, 4].
        vocabulary: Whose texts these are; a class has the score of its best one.
        frame: Of the image.
        max_instances: At most.
        min_score: At least.
    """
    labels = [label for label, texts in enumerate(vocabulary.synonyms) for _ in texts]
    owners = torch.tensor(labels, device=scores.device)
    if len(vocabulary) < len(labels):
        scores, boxes = _best_texts(scores, boxes, owners, len(vocabulary))
        owners = torch.arange(len(vocabulary), device=scores.device)
    best = scores.flatten().topk(min(max_instances, scores.numel()))
    kept = best.values >= min_score
    places = best.indices[kept]
    queries, columns = places // scores.shape[1], places % scores.shape[1]
    found = boxes[queries] if boxes.dim() == 2 else boxes[queries, columns]
    return InstanceSet(
        masks=None,
        boxes=photo_boxes(found, frame),
        labels=owners[columns],
        scores=best.values[kept],
        size=frame.photo_size,
    )


def _best_texts(
    scores: Tensor, boxes: Tensor, owners: Tensor, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Scores [Q, C] of classes, and the boxes [Q, C, 4] of their best texts."""
    columns = [torch.nonzero(owners == label)[:, 0] for label in range(num_classes)]
    best = [scores[:, some].max(1) for some in columns]
    if boxes.dim() == 3:
        rows = torch.arange(len(boxes), device=boxes.device)
        chosen = [boxes[rows, some[each.indices]] for some, each in zip(columns, best)]
        boxes = torch.stack(chosen, dim=1)
    return torch.stack([each.values for each in best], dim=1), boxes
