"""Scores of a set of clips, from the J and F of every object on every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from freeseg.evaluation.clips.measures import decay_of, recall_of


@dataclass(frozen=True)
class ObjectSeries:
    """J and F of an object on the frames where it is judged.

    Attributes:
        clip: Its name.
        number: Of the object.
        is_seen: As of `Clip`; None where that is not known.
        regions: J, frame by frame.
        contours: F.
    """

    clip: str
    number: int
    is_seen: bool | None = None
    regions: list[float] = field(default_factory=list)
    contours: list[float] = field(default_factory=list)


def davis_scores(series: Sequence[ObjectSeries]) -> dict[str, float]:
    """DAVIS's percentages: every object counts once, however long its clip is.

    J&F is the mean of J and F; recall is the share of frames above one half, decay the loss from
    the first quarter of them to the last. J and F of each object stand beside them.

    Args:
        series: Of objects, each with a frame at least.
    """
    found = {}
    for name, values in _both(series).items():
        found[name] = _mean([_mean(each) for each in values])
        found[f"{name}_recall"] = _mean_of(recall_of, values)
        found[f"{name}_decay"] = _mean_of(decay_of, values)
    found = {"J&F": (found["J"] + found["F"]) / 2, **found}
    for name, values in _both(series).items():
        found.update(
            {f"{name}-{one.clip}_{one.number}": _mean(each) for one, each in zip(series, values)}
        )
    return {name: 100 * value for name, value in found.items()}


def youtube_vos_scores(series: Sequence[ObjectSeries]) -> dict[str, float]:
    """YouTube-VOS's percentages: J and F of seen and of unseen categories, and G, their mean.

    NaN where there is no object of a kind.
    """
    found = {}
    for kind, is_seen in (("s", True), ("u", False)):
        chosen = [one for one in series if one.is_seen is is_seen]
        for name, values in _both(chosen).items():
            found[f"{name}{kind}"] = 100 * _mean([_mean(each) for each in values])
    return {"G": _mean(list(found.values())), **found}


def _both(series: Sequence[ObjectSeries]) -> dict[str, list[list[float]]]:
    return {"J": [one.regions for one in series], "F": [one.contours for one in series]}


def _mean_of(statistic: Callable[[Sequence[float]], float], values: list[list[float]]) -> float:
    return _mean([statistic(each) for each in values])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
