"""Two models as one: words become boxes by the first, boxes masks by the second."""

from __future__ import annotations

import os
from typing import Any, Union

from freeseg.segmenter import Segmenter
from freeseg.systems import GroundedSAM, SegmentationSystem

Part = Union[Segmenter, "SegmentationSystem[Any]", str, "os.PathLike[str]"]


def compose(
    grounder: Part,
    segmenter: Part,
    *,
    min_score: float = 0.3,
    max_overlap: float | None = 0.8,
    per_class: bool = False,
) -> Segmenter:
    """A segmenter that finds what words name, as Grounded-SAM does.

    Args:
        grounder: Answers class lists or phrases with boxes; or a name of `from_pretrained`.
        segmenter: Takes boxes, likewise.
        min_score: Of boxes of a class list.
        max_overlap: Of two boxes, the better one stays; None: all do.
        per_class: Whether boxes of different classes may lie on each other.

    Raises:
        ValueError: The parts do not fit.
        FileNotFoundError: There is no such model.
    """
    return Segmenter(
        GroundedSAM(
            grounder=_system(grounder),
            segmenter=_system(segmenter),
            min_score=min_score,
            max_overlap=max_overlap,
            per_class=per_class,
        ).eval()
    )


def _system(part: Part) -> SegmentationSystem[Any]:
    if isinstance(part, SegmentationSystem):
        return part
    model = part.model if isinstance(part, Segmenter) else Segmenter.from_pretrained(part).model
    if not isinstance(model, SegmentationSystem):
        raise ValueError(f"{type(model).__name__} is no system of this package")
    return model
