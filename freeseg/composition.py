"""Two models as one: words become boxes by the first, boxes masks by the second."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.segmenter import Segmenter
from freeseg.systems import GroundedSAM, SegmentationSystem
from freeseg.systems.building import read_config
from freeseg.systems.grounded_sam.config import box_rules

_SECTION = "MODEL.GROUNDED_SAM."

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


def pretrained(
    name_or_path: str | os.PathLike[str], device: str | None = None, opts: Sequence[str] = ()
) -> Segmenter:
    """A model as `Segmenter.from_pretrained` takes it, or two composed ones: "GROUNDER+SEGMENTER".

    Args:
        name_or_path: Of the model, or of both with "+" between; a file or folder of such a name is
            taken for one.
        device: Of both.
        opts: KEY VALUE ...; of two models those of MODEL.GROUNDED_SAM alone.

    Raises:
        FileNotFoundError: There is no such model or file.
        DownloadError: Its weights are not here and cannot be fetched.
        ValueError: It cannot be used, or the parts do not fit.
    """
    name = os.fspath(name_or_path)
    parts = parts_of(name)
    if len(parts) == 1:
        return Segmenter.from_pretrained(name, device, opts)
    other = next((key for key in map(str, opts[::2]) if not key.startswith(_SECTION)), None)
    if other is not None:
        raise ValueError(f"{name} is two models: overrides are those of {_SECTION}*, got {other}")
    cfg = get_cfg()
    add_freeseg_config(cfg)
    grounder, segmenter = (Segmenter.from_pretrained(part, device) for part in parts)
    return compose(grounder, segmenter, **box_rules(read_config(cfg, None, None, opts)))


def parts_of(name: str) -> list[str]:
    """The models that a name stands for: one, or the grounder and the segmenter around a plus.

    Raises:
        ValueError: There is nothing before or behind the plus.
    """
    if name and Path(name).exists():
        return [name]
    parts = name.split("+", 1)
    if not all(part.strip() for part in parts):
        raise ValueError(f"wanted a model, or two with a plus between as in A+B, got {name!r}")
    return parts


def find_from(segmenter: Segmenter, min_score: float) -> None:
    """Lets a composed model give all boxes from a score on; others give all that they have."""
    if isinstance(segmenter.model, GroundedSAM):
        segmenter.model.min_score = min_score


def _system(part: Part) -> SegmentationSystem[Any]:
    if isinstance(part, SegmentationSystem):
        return part
    model = part.model if isinstance(part, Segmenter) else Segmenter.from_pretrained(part).model
    if not isinstance(model, SegmentationSystem):
        raise ValueError(f"{type(model).__name__} is no system of this package")
    return model
