"""How the release reads its answers: every box names itself by the words that are likely enough.

For comparison alone: such names come out empty, cut, or of several classes. Elsewhere here a box
has the name of a class that was asked for.

Shapes: Q queries, T text tokens.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from freeseg.systems.grounding_dino.captions import preprocess_caption
from freeseg.systems.grounding_dino.features import TokenFeatures
from freeseg.systems.grounding_dino.system import GroundingDINO
from freeseg.text.bert import BertEncoder

LAST = 255  # the token that the release never reads, as it does not the first


class Phrased(NamedTuple):
    """Boxes that name themselves."""

    boxes: Tensor  # [N, 4], (centre x, centre y, width, height) in shares of the picture
    scores: Tensor  # [N]
    phrases: list[str]


def predict(
    model: GroundingDINO,
    features: TokenFeatures,
    caption: str,
    *,
    box_threshold: float = 0.35,
    text_threshold: float = 0.25,
    remove_combined: bool = False,
) -> Phrased:
    """The release's `predict`.

    Args:
        model: Which answers.
        features: Of one image.
        caption: Raw.
        box_threshold: Of the best word of a box.
        text_threshold: Of every word of its name.
        remove_combined: Names end where a name of the caption does.
    """
    captions = model.text_side.of_captions([preprocess_caption(caption)])
    last = model.decode(features, model.text_side(captions)).layers[-1]
    words = last.word_logits[0].sigmoid()
    best = words.amax(1)
    kept = torch.nonzero(best > box_threshold)[:, 0]
    ids = captions.ids[0].tolist()
    encoder = model.text_side.encoder
    phrases = [
        phrase_of(encoder, ids, words[row], text_threshold, remove_combined=remove_combined)
        for row in kept.tolist()
    ]
    return Phrased(last.boxes[0, kept], best[kept], phrases)


def phrase_of(
    encoder: BertEncoder,
    ids: Sequence[int],
    words: Tensor,
    threshold: float,
    *,
    remove_combined: bool = False,
) -> str:
    """The name that words [T] of one box make; dots are left out."""
    first, behind = 0, LAST
    if remove_combined:
        (stop,) = encoder.word_ids(".")
        ends = [
            place
            for place, token in enumerate(ids)
            if token in (*encoder.start_ids, encoder.end_id, stop)
        ]
        number = bisect.bisect_left(ends, int(words.argmax()))
        first, behind = ends[number - 1], ends[number]
    is_read = (words > threshold).tolist()
    chosen = [ids[place] for place in range(first + 1, min(behind, len(ids))) if is_read[place]]
    return encoder.text_of(chosen).replace(".", "")
