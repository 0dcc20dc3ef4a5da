"""Judges the label maps of a clip, one frame at a time.

Shapes: H W frame size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from freeseg.data.clips import Clip, LabelMap
from freeseg.evaluation.clips.measures import contour_accuracy, region_similarity
from freeseg.evaluation.clips.scores import ObjectSeries

Keep = Callable[[int, LabelMap], object]  # takes the number of a frame and what was found there


def judge_clip(clip: Clip, found: Iterable[Any], keep: Keep | None = None) -> list[ObjectSeries]:
    """J and F of the objects of a clip.

    Args:
        clip: With masks of some frames, or of all.
        found: A label map [H, W] of whole numbers for every frame, in order, 0 is background; None
            where nobody knows, which only frames may be that are not judged.
        keep: Called with every map when it was judged, before the next is asked for.

    Returns:
        One for each object; without frames where it is judged on none.

    Raises:
        ValueError: There are too few maps or too many, or one is of another size or marks what is
            no object of the clip; names the clip and the frame.
    """
    seen = clip.is_seen or {}
    series = {number: ObjectSeries(clip.name, number, seen.get(number)) for number in clip.begins}
    for frame, labels in _numbered(clip, found):
        judged = clip.judged(frame)
        if labels is None:
            if judged:
                raise ValueError(f"{clip.name}: there is no label map of {clip.frame_name(frame)}")
            continue
        if judged:
            truth = clip.truth(frame)
            for number in judged:
                mask, true = labels == number, truth == number
                series[number].regions.append(region_similarity(mask, true))
                series[number].contours.append(contour_accuracy(mask, true))
        if keep is not None:
            keep(frame, labels)
    return list(series.values())


def judged_alone(series: Sequence[ObjectSeries]) -> list[ObjectSeries]:
    """Objects that are judged on a frame at least."""
    return [one for one in series if one.regions]


def _numbered(clip: Clip, found: Iterable[Any]) -> Iterator[tuple[int, LabelMap | None]]:
    """Frames and what was found on them, checked; holds no map but the last."""
    count = 0
    for count, labels in enumerate(found, 1):
        if count > len(clip.frames):
            raise ValueError(f"{clip.name}: more label maps than its {len(clip.frames)} frames")
        yield count - 1, None if labels is None else _checked(clip, count - 1, labels)
    if count < len(clip.frames):
        raise ValueError(f"{clip.name}: {count} label maps of {len(clip.frames)} frames")


def _checked(clip: Clip, frame: int, labels: Any) -> LabelMap:
    values = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    name = f"{clip.name}: the label map of {clip.frame_name(frame)}"
    if values.dtype.kind not in "iub":
        raise ValueError(f"{name} must have whole numbers, got {values.dtype}")
    if values.shape != clip.size:
        raise ValueError(f"{name} is {values.shape}, its frame {clip.size}")
    values = values.astype(np.int64)
    unknown = sorted(set(np.unique(values).tolist()) - {0, *clip.begins})
    if unknown:
        known = ", ".join(map(str, clip.begins))
        raise ValueError(f"{name} has object {unknown[0]}, the clip has {known}")
    return values
