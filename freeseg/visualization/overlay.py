"""From a segmentation to pictures: overlay with legend, and plain label pictures.

Shapes: H W photo size.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from freeseg.images import RgbImage
from freeseg.visualization.drawing import draw_segments
from freeseg.visualization.drawn_marks import draw_marks
from freeseg.visualization.drawn_segments import DrawnSegment, cut_out, frame_of, segments_of_map
from freeseg.visualization.legend import LegendRow, add_legend
from freeseg.visualization.palette import Color, class_colors
from freeseg.visualization.photo_result import PhotoResult
from freeseg_command.tasks import SCORED_TASKS, Task

UNASSIGNED: Color = (0, 0, 0)  # of label pictures
REMARK_WIDTH = 22  # letters of a line of a remark in the legend
_SHOWN_SIDE = 448  # photos are enlarged until their longer side is about this, in pixels
_MIN_FONT, _MAX_FONT = 11, 96


def segments_of(result: PhotoResult, task: str, min_score: float) -> list[DrawnSegment]:
    """Returns what is drawn of a task; instances below a score are left out."""
    return _SEGMENTS[task](result, min_score)


def draw_overlay(result: PhotoResult, task: str, min_score: float) -> RgbImage:
    """Returns the photo with a task's segments and a legend of the classes that are present."""
    segments = segments_of(result, task, min_score)
    factor = max(1, _SHOWN_SIDE // max(result.image.shape[:2]))
    photo = enlarge(result.image, factor)
    font_size = _font_size(photo)
    picture = draw_segments(photo, [segment.enlarged(factor) for segment in segments], font_size)
    if result.marks is not None:
        picture = draw_marks(picture, result.marks, factor)
    rows = _legend_rows(result, task, segments)
    return add_legend(picture, LegendRow(task, None, _headings(result, task)), rows, font_size)


def draw_picture(result: PhotoResult, task: str, min_score: float) -> RgbImage:
    """Returns the photo, at its own size, with a task's segments and no legend."""
    segments = segments_of(result, task, min_score)
    picture = draw_segments(result.image, segments, _font_size(result.image))
    return picture if result.marks is None else draw_marks(picture, result.marks)


def draw_labels(result: PhotoResult, task: str) -> RgbImage:
    """Returns a picture [H, W, 3] of flat segment colours on black."""
    picture = np.empty_like(result.image)
    picture[:] = UNASSIGNED
    for segment in sorted(segments_of(result, task, 0.0), key=lambda segment: -segment.area):
        picture[segment.box][segment.mask] = segment.color
    return picture


def enlarge(image: RgbImage, factor: int) -> RgbImage:
    """Returns the picture with `factor` times as many rows and columns."""
    if factor == 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def _font_size(photo: RgbImage) -> int:
    height, width = photo.shape[:2]
    return int(np.clip(round((height * width) ** 0.5 * 0.026), _MIN_FONT, _MAX_FONT))


def _semantic_segments(result: PhotoResult, min_score: float) -> list[DrawnSegment]:
    assert result.semantic is not None
    names = result.vocabulary.names
    colors = class_colors(len(names))
    labels = {label: label for label in range(len(names))}
    segments = segments_of_map(result.semantic, labels, colors)
    return [replace(segment, caption=names[segment.label]) for segment in segments.values()]


def _panoptic_segments(result: PhotoResult, min_score: float) -> list[DrawnSegment]:
    assert result.panoptic is not None
    colors = class_colors(len(result.vocabulary))
    labels = {segment.id: segment.label for segment in result.panoptic.segments}
    segments = segments_of_map(result.panoptic.segment_ids, labels, colors)
    return [
        replace(
            segments[segment.id],
            caption=segment.name,
            is_thing=segment.is_thing,
            score=segment.score,
        )
        for segment in result.panoptic.segments
        if segment.id in segments
    ]


def _scored_segments(
    result: PhotoResult, min_score: float, task: Task = Task.INSTANCE
) -> list[DrawnSegment]:
    """Classes differ by hue; of the objects of a prompt, or of everything, each has its own."""
    instances = result.scored[task]
    kinds, choices, count = instances.labels, instances.choices, len(result.vocabulary)
    if task == Task.OBJECT:
        kinds = np.arange(len(instances)) if instances.owners is None else instances.owners
        count = int(kinds.max(initial=-1)) + 1
    colors = class_colors(count)
    seen: dict[int, int] = defaultdict(int)
    segments = []
    for index in np.argsort(-instances.scores, kind="stable").tolist():
        label, score = int(instances.labels[index]), float(instances.scores[index])
        if score < min_score:
            continue
        # hundreds of everything have no room for the one name
        caption = "" if instances.points is not None else f"{instances.names[index]} {score:.0%}"
        kind = int(kinds[index])
        mask = (
            frame_of(instances.boxes[index], result.image.shape[:2])
            if instances.masks is None
            else instances.masks[index]
        )
        segment = cut_out(mask, label, colors[kind], caption)
        if segment is not None:
            variant = seen[kind] if choices is None else int(choices[index])
            seen[kind] += 1
            segments.append(replace(segment, is_thing=True, score=score, variant=variant))
    return segments


_SEGMENTS: dict[str, Callable[[PhotoResult, float], list[DrawnSegment]]] = {
    "panoptic": _panoptic_segments,
    "instance": _scored_segments,
    "object": partial(_scored_segments, task=Task.OBJECT),
    "semantic": _semantic_segments,
}


def _has_areas(result: PhotoResult, task: str) -> bool:
    """Whether segments are masks: of boxes there is nothing but the edge in a picture."""
    return task not in SCORED_TASKS or result.scored[Task(task)].masks is not None


def _headings(result: PhotoResult, task: str) -> tuple[str, ...]:
    if not _has_areas(result, task):
        return ("score",)
    return ("score", "area") if task in SCORED_TASKS else ("area",)


def _legend_rows(
    result: PhotoResult, task: str, segments: Sequence[DrawnSegment]
) -> list[LegendRow]:
    """Returns the classes with their share of the picture, largest first, then what has none.

    A class whose objects have hues of their own has no colour.
    """
    by_label: dict[int, list[DrawnSegment]] = defaultdict(list)
    covered = np.zeros(result.image.shape[:2], dtype=np.bool_)  # [H, W]
    for segment in segments:
        by_label[segment.label].append(segment)
        covered[segment.box] |= segment.mask
    areas = {label: _union_area(members) for label, members in by_label.items()}
    rows = []
    for label in sorted(areas, key=lambda label: -areas[label]):
        members = by_label[label]
        count = f" ×{len(members)}" if len(members) > 1 else ""
        figures = [_share(areas[label], covered.size)] if _has_areas(result, task) else []
        if task in SCORED_TASKS:
            figures.insert(0, _score_range([segment.score or 0.0 for segment in members]))
        name = result.vocabulary.names[label] + count
        hues = {segment.hue for segment in members}
        rows.append(LegendRow(name, hues.pop() if len(hues) == 1 else None, tuple(figures)))
    rest = covered.size - int(np.count_nonzero(covered))
    if not rows:
        rows.append(LegendRow("nothing found", None))
    elif rest and task not in SCORED_TASKS:
        rows.append(LegendRow("unlabelled", None, (_share(rest, covered.size),)))
    lines = (line for remark in result.remarks for line in textwrap.wrap(remark, REMARK_WIDTH))
    return [*rows, *(LegendRow(line, None) for line in lines)]


def _union_area(segments: Sequence[DrawnSegment]) -> int:
    """Returns how many pixels at least one of the segments covers."""
    if len(segments) == 1:
        return segments[0].area
    left = min(segment.left for segment in segments)
    top = min(segment.top for segment in segments)
    bottom = max(segment.box[0].stop for segment in segments)
    right = max(segment.box[1].stop for segment in segments)
    union = np.zeros((bottom - top, right - left), dtype=np.bool_)
    for segment in segments:
        height, width = segment.mask.shape
        row, column = segment.top - top, segment.left - left
        union[row : row + height, column : column + width] |= segment.mask
    return int(np.count_nonzero(union))


def _share(area: int, whole: int) -> str:
    share = 100 * area / whole
    return f"{share:.1f} %" if share >= 0.05 else "<0.1 %"


def _score_range(scores: Sequence[float]) -> str:
    low, high = f"{min(scores):.0%}", f"{max(scores):.0%}"
    return high if low == high else f"{low[:-1]}–{high}"
