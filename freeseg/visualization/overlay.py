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
from freeseg.visualization.drawing import draw_regions
from freeseg.visualization.legend import LegendRow, add_legend
from freeseg.visualization.palette import Color, class_colors, shade
from freeseg.visualization.photo_result import PhotoResult
from freeseg.visualization.regions import Region, cut_out, regions_of_map
from freeseg_command.tasks import SCORED_TASKS, Task

UNASSIGNED: Color = (0, 0, 0)  # of label pictures
REMARK_WIDTH = 22  # letters of a line of a remark in the legend
_SHOWN_SIDE = 448  # photos are enlarged until their longer side is about this, in pixels
_MIN_FONT, _MAX_FONT = 11, 96


def regions_of(result: PhotoResult, task: str, min_score: float) -> list[Region]:
    """Returns what is drawn of a task; instances below a score are left out."""
    return _REGIONS[task](result, min_score)


def draw_overlay(result: PhotoResult, task: str, min_score: float) -> RgbImage:
    """Returns the photo with a task's segments and a legend of the classes that are present."""
    regions = regions_of(result, task, min_score)
    factor = max(1, _SHOWN_SIDE // max(result.image.shape[:2]))
    photo = enlarge(result.image, factor)
    font_size = _font_size(photo)
    picture = draw_regions(photo, [region.enlarged(factor) for region in regions], font_size)
    rows = _legend_rows(result, task, regions)
    return add_legend(picture, LegendRow(task, None, _headings(task)), rows, font_size)


def draw_picture(result: PhotoResult, task: str, min_score: float) -> RgbImage:
    """Returns the photo, at its own size, with a task's segments and no legend."""
    return draw_regions(result.image, regions_of(result, task, min_score), _font_size(result.image))


def draw_labels(result: PhotoResult, task: str) -> RgbImage:
    """Returns a picture [H, W, 3] of flat segment colours on black."""
    picture = np.empty_like(result.image)
    picture[:] = UNASSIGNED
    for region in sorted(regions_of(result, task, 0.0), key=lambda region: -region.area):
        picture[region.box][region.mask] = region.color
    return picture


def enlarge(image: RgbImage, factor: int) -> RgbImage:
    """Returns the picture with `factor` times as many rows and columns."""
    if factor == 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def _font_size(photo: RgbImage) -> int:
    height, width = photo.shape[:2]
    return int(np.clip(round((height * width) ** 0.5 * 0.026), _MIN_FONT, _MAX_FONT))


def _semantic_regions(result: PhotoResult, min_score: float) -> list[Region]:
    assert result.semantic is not None
    names = result.vocabulary.names
    colors = class_colors(len(names))
    labels = {label: label for label in range(len(names))}
    regions = regions_of_map(result.semantic, labels, colors)
    return [replace(region, caption=names[region.label]) for region in regions.values()]


def _panoptic_regions(result: PhotoResult, min_score: float) -> list[Region]:
    assert result.panoptic is not None
    colors = class_colors(len(result.vocabulary))
    labels = {segment.id: segment.label for segment in result.panoptic.segments}
    regions = regions_of_map(result.panoptic.segment_ids, labels, colors)
    return [
        replace(
            regions[segment.id],
            caption=segment.name,
            is_thing=segment.is_thing,
            score=segment.score,
        )
        for segment in result.panoptic.segments
        if segment.id in regions
    ]


def _scored_regions(
    result: PhotoResult, min_score: float, task: Task = Task.INSTANCE
) -> list[Region]:
    instances = result.scored[task]
    colors = class_colors(len(result.vocabulary))
    seen: dict[int, int] = defaultdict(int)
    regions = []
    for index in np.argsort(-instances.scores, kind="stable").tolist():
        label, score = int(instances.labels[index]), float(instances.scores[index])
        if score < min_score:
            continue
        caption = f"{instances.names[index]} {score:.0%}"
        color = shade(colors[label], seen[label])
        region = cut_out(instances.masks[index], label, color, caption)
        if region is not None:
            seen[label] += 1
            regions.append(replace(region, is_thing=True, score=score))
    return regions


_REGIONS: dict[str, Callable[[PhotoResult, float], list[Region]]] = {
    "panoptic": _panoptic_regions,
    "instance": _scored_regions,
    "object": partial(_scored_regions, task=Task.OBJECT),
    "semantic": _semantic_regions,
}


def _headings(task: str) -> tuple[str, ...]:
    return ("score", "area") if task in SCORED_TASKS else ("area",)


def _legend_rows(result: PhotoResult, task: str, regions: Sequence[Region]) -> list[LegendRow]:
    """Returns the classes with their share of the picture, largest first, then what has none."""
    colors = class_colors(len(result.vocabulary))
    by_label: dict[int, list[Region]] = defaultdict(list)
    covered = np.zeros(result.image.shape[:2], dtype=np.bool_)  # [H, W]
    for region in regions:
        by_label[region.label].append(region)
        covered[region.box] |= region.mask
    areas = {label: _union_area(members) for label, members in by_label.items()}
    rows = []
    for label in sorted(areas, key=lambda label: -areas[label]):
        members = by_label[label]
        count = f" ×{len(members)}" if len(members) > 1 else ""
        figures = [_share(areas[label], covered.size)]
        if task in SCORED_TASKS:
            figures.insert(0, _score_range([region.score or 0.0 for region in members]))
        name = result.vocabulary.names[label] + count
        rows.append(LegendRow(name, colors[label], tuple(figures)))
    rest = covered.size - int(np.count_nonzero(covered))
    if not rows:
        rows.append(LegendRow("nothing found", None))
    elif rest and task not in SCORED_TASKS:
        rows.append(LegendRow("unlabelled", None, (_share(rest, covered.size),)))
    lines = (line for remark in result.remarks for line in textwrap.wrap(remark, REMARK_WIDTH))
    return [*rows, *(LegendRow(line, None) for line in lines)]


def _union_area(regions: Sequence[Region]) -> int:
    """Returns how many pixels at least one of the regions covers."""
    if len(regions) == 1:
        return regions[0].area
    left = min(region.left for region in regions)
    top = min(region.top for region in regions)
    bottom = max(region.box[0].stop for region in regions)
    right = max(region.box[1].stop for region in regions)
    union = np.zeros((bottom - top, right - left), dtype=np.bool_)
    for region in regions:
        height, width = region.mask.shape
        row, column = region.top - top, region.left - left
        union[row : row + height, column : column + width] |= region.mask
    return int(np.count_nonzero(union))


def _share(area: int, whole: int) -> str:
    share = 100 * area / whole
    return f"{share:.1f} %" if share >= 0.05 else "<0.1 %"


def _score_range(scores: Sequence[float]) -> str:
    low, high = f"{min(scores):.0%}", f"{max(scores):.0%}"
    return high if low == high else f"{low[:-1]}–{high}"
