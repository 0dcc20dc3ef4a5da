"""What the demos of Grounded-Segment-Anything write beside a picture of masks.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LETTERS = 4  # of a score


def mask_rows(
    names: Sequence[str], scores: Sequence[float], boxes: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """The rows of mask.json: the background, and every mask by its value in the map.

    Parity: of a score there are its first four characters, cut and not rounded.

    Args:
        names: Of the masks.
        scores: In [0, 1].
        boxes: Xyxy in pixels.
    """
    rows: list[dict[str, Any]] = [{"value": 0, "label": "background"}]
    for value, (name, score, box) in enumerate(zip(names, scores, boxes, strict=True), start=1):
        logit = float(f"{score:.7f}"[:LETTERS])
        rows.append({"value": value, "label": name, "logit": logit, "box": [*map(float, box)]})
    return rows


def value_map(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """The value int32 [H, W] of every pixel of masks [N, H, W]: the last one's, 0 where none is."""
    values = np.zeros(masks.shape[1:], dtype=np.int32)
    for value, mask in enumerate(masks, start=1):
        values[mask] = value
    return values
