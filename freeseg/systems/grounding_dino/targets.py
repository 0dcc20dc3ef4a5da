"""Captions to train with, and which of their words mean which object.

Shapes: N objects of an image, T text tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from freeseg.ops import mask_boxes
from freeseg.structures import Sample, Vocabulary
from freeseg.systems.grounding_dino.boxes import to_centres
from freeseg.systems.grounding_dino.captions import Captions, TextSide
from freeseg.systems.grounding_dino.training import BoxTarget

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class CaptionedTargets:
    """A training batch as text and boxes."""

    captions: Captions
    targets: list[BoxTarget]


def read_targets(
    samples: Sequence[Sample],
    text_side: TextSide,
    vocabularies: Mapping[str | None, Vocabulary],
    generator: torch.Generator,
) -> CaptionedTargets:
    """Captions of a batch and where their words are.

    What was said about an image is its caption. Else its caption is drawn of its class list: the
    names of what is there and, half of the time, as many others as there is room for, else fewer,
    in any order. Of several texts of a class one is drawn. Classes that are flagged as unseen are
    not named, and their objects left out.

    Args:
        samples: With instances or label maps.
        text_side: Whose tokens they are.
        vocabularies: By the dataset of a sample; None: of those that name none.
        generator: Of the draws.

    Raises:
        ValueError: Nobody says what labels mean, or an object's phrase is not in its caption.
    """
    rows, words, learned, boxes = [], [], [], []
    for sample in samples:
        labels = sample.labels()
        if sample.caption is not None:
            is_seen = torch.ones_like(labels, dtype=torch.bool)
            ids, of_objects = _said(sample, text_side)
        else:
            vocabulary = class_list(sample, vocabularies)
            is_seen = torch.isin(labels, labels.new_tensor(vocabulary.seen_classes()))
            ids, of_objects = _drawn(labels[is_seen], vocabulary, text_side, generator)
        rows.append(ids)
        words.append(of_objects)
        learned.append(labels[is_seen])
        boxes.append(_boxes(sample)[is_seen])
    captions = text_side.of_ids(rows).cut(text_side.max_tokens)
    length = captions.ids.shape[1]
    targets = [
        BoxTarget(labels, corners, _mask(of_objects, length))
        for labels, corners, of_objects in zip(learned, boxes, words)
    ]
    return CaptionedTargets(captions, targets)


def class_list(sample: Sample, vocabularies: Mapping[str | None, Vocabulary]) -> Vocabulary:
    """What the labels of a sample mean.

    Raises:
        ValueError: Nobody says it.
    """
    vocabulary = vocabularies.get(sample.dataset, vocabularies.get(None))
    if vocabulary is None:
        raise ValueError(f"no class names are known of the dataset {sample.dataset!r}")
    return vocabulary


def _drawn(
    labels: Tensor, vocabulary: Vocabulary, text_side: TextSide, generator: torch.Generator
) -> tuple[Sequence[int], list[list[int]]]:
    """Tokens of a caption of names, and those of every object."""
    present = labels.unique().tolist()
    others = [label for label in vocabulary.seen_classes() if label not in set(present)]
    order = torch.randperm(len(others), generator=generator).tolist()
    room = max(text_side.max_names - len(present), 0)
    count = min(len(others), room)
    if count and torch.rand((), generator=generator) < 0.5:
        count = int(torch.randint(1, count + 1, (), generator=generator))
    kept = [*present, *(others[place] for place in order[:count])]
    kept = [kept[place] for place in torch.randperm(len(kept), generator=generator).tolist()]
    texts = []
    for label in kept:
        known = vocabulary.synonyms[label]
        texts.append(known[int(torch.randint(len(known), (), generator=generator))])
    first = text_side.listed(texts)[0]  # what does not fit into one caption is left out
    places = {kept[number]: range(*span) for number, span in zip(first.texts, first.spans)}
    return first.ids, [list(places.get(label, ())) for label in labels.tolist()]


def _said(sample: Sample, text_side: TextSide) -> tuple[Sequence[int], list[list[int]]]:
    """Tokens of what was said, and those of every object's phrases."""
    assert sample.caption is not None
    phrases = sample.phrases or ()
    if len(phrases) != len(sample.labels()):
        raise ValueError(
            f"an image with a caption has phrases for {len(phrases)} of its "
            f"{len(sample.labels())} objects"
        )
    encoder = text_side.encoder
    spans = encoder.word_spans(sample.caption)
    first = len(encoder.start_ids)
    words = [
        [first + place for place, span in enumerate(spans) if _overlaps(span, phrase)]
        for phrase in phrases
    ]
    for number, found in enumerate(words):
        if not found:
            raise ValueError(f"{phrases[number]} are no words of {sample.caption!r}")
    return text_side.closed(sample.caption), words


def _overlaps(span: tuple[int, int], phrase: Spans) -> bool:
    return any(first < span[1] and span[0] < behind for first, behind in phrase)


def _mask(words: Sequence[Sequence[int]], length: int) -> Tensor:
    """Bool [N, T]."""
    mask = torch.zeros(len(words), length, dtype=torch.bool)
    for row, places in zip(mask, words):
        row[[place for place in places if place < length]] = True
    return mask


def _boxes(sample: Sample) -> Tensor:
    """Boxes [N, 4] in shares of the picture, of a sample's targets in the order of its labels."""
    height, width = (int(side) for side in sample.image.shape[-2:])
    if sample.instances is not None and sample.instances.has("gt_boxes"):
        corners: Tensor = sample.instances.gt_boxes.tensor
    else:
        target = sample.target((height, width), sample.image.device)
        corners = mask_boxes(target.masks)
    return to_centres(corners.float() / corners.new_tensor([width, height, width, height]))
