"""Signs that a photo is unlike those a model has learned from, and how well they tell.

Shapes: Q queries, K classes, h w mask size, N photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from freeseg.inference import dense_certainty, photo_certainty

USED = "certainty"  # what the model's own is


@dataclass
class Recorder:
    """Stands in for a model's own `certainty`, and keeps what it is computed from."""

    signs: dict[str, float]

    def __call__(self, *computed: Any) -> float:
        logits, beside = computed
        if isinstance(beside, Tensor):  # class logits, mask logits
            self.signs = signs_of(logits.float(), beside.float())
        else:  # cosines, their factor
            self.signs = dense_signs_of(logits, beside)
        return self.signs[USED]


def signs_of(class_logits: Tensor, mask_logits: Tensor) -> dict[str, float]:
    """Candidates by name, each higher where a photo is like those of training.

    Args:
        class_logits: [Q, K+1], the last column is "no object".
        mask_logits: [Q, h, w].
    """
    probs, masks = class_logits.softmax(-1), mask_logits.sigmoid()
    scores = torch.einsum("qk,qhw->khw", probs[:, :-1], masks)
    shares = scores / scores.sum(0).clamp(min=1e-6)  # [K, h, w], of the classes at a pixel
    best = probs[:, :-1].amax(-1)  # [Q]
    owner = (best[:, None, None] * masks).argmax(0)  # [h, w]
    energy = class_logits[:, :-1].logsumexp(-1)  # [Q]
    return {
        USED: photo_certainty(class_logits, mask_logits),
        **_signs_of_shares(shares),
        "energy of a pixel's query": float(energy[owner].mean()),
        "largest logit of a pixel's query": float(class_logits[:, :-1].amax(-1)[owner].mean()),
        'mean probability of not being "no object"': float(1 - probs[:, -1].mean()),
    }


def dense_signs_of(logits: Tensor, scale: float) -> dict[str, float]:
    """The same of a model without masks.

    Args:
        logits: [K, h, w], cosines times `scale`.
        scale: What a cosine of 1 has as its logit.
    """
    two = logits.float().topk(min(2, len(logits)), 0).values
    return {
        USED: dense_certainty(logits, scale),
        **_signs_of_shares(logits.float().softmax(0)),
        "largest logit at a pixel": float(two[0].mean()),
        "largest logit less the second": float((two[0] - two[-1]).mean()),
    }


def _signs_of_shares(shares: Tensor) -> dict[str, float]:
    """Of the classes' shares [K, h, w] of every pixel."""
    entropy = -(shares * shares.clamp(min=1e-9).log()).sum(0)
    return {
        "largest class share at a pixel (max softmax)": float(shares.amax(0).mean()),
        "minus entropy of the classes at a pixel": float(-entropy.mean()),
    }


def measure_signs(segmenter: Any, photos: Sequence[Path]) -> dict[str, npt.NDArray[Any]]:
    """Signs [N] of photos by name; of the segments' own scores and the labelled share, too.

    Args:
        segmenter: A `freeseg.Segmenter` that asks for the certainty.
        photos: Their files.

    Raises:
        ValueError: Its model has none.
    """
    model = segmenter.model
    if not hasattr(model, "certainty"):
        raise ValueError(f"{type(model).__name__} has no certainty")
    recorder = Recorder({})
    model.certainty = recorder
    rows, segment_scores = [], []
    for photo in photos:
        result = segmenter(photo, segmenter.tasks[0])
        row = dict(recorder.signs)
        if result.panoptic is not None:
            row["labelled share"] = float((result.panoptic.segment_ids > 0).mean())
            segment_scores += [one.score or 0.0 for one in result.panoptic.segments]
        rows.append(row)
    del model.certainty
    signs = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    if segment_scores:
        signs["score of a segment, alone"] = np.array(segment_scores)
    return signs


def auroc(known: npt.NDArray[Any], foreign: npt.NDArray[Any]) -> float:
    """The chance that a known one is higher than a foreign one; of equal ones a half."""
    higher = (known[:, None] > foreign).mean()
    return float(higher + 0.5 * (known[:, None] == foreign).mean())
