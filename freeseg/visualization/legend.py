"""The legend: which classes a picture shows, in which colour, and how much of it they cover.

Shapes: H W picture size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from freeseg.images import RgbImage
from freeseg.visualization.palette import Color
from freeseg.visualization.text import load_font, text_size

_BACKGROUND: Color = (250, 250, 248)
_INK: Color = (28, 28, 32)
_FAINT_INK: Color = (120, 120, 126)
_ROW_HEIGHT = 1.65  # in font sizes, as all lengths below
_MARGIN = 0.9
_SWATCH_WIDTH = 1.5
_GAP = 0.6
_MAX_NAME_WIDTH = 16.0
_MAX_ROWS = 48  # beyond, the smallest classes are summed up in one row
_MAX_ASPECT = 1.9  # wider pictures get the legend below, in columns


@dataclass(frozen=True)
class LegendRow:
    """One class: its name, its colour (None for a remark), and figures set in columns."""

    name: str
    color: Color | None
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Layout:
    """Measures shared by all rows, in pixels."""

    font_size: int
    row_height: int
    margin: int
    name_start: int  # from the left margin
    figure_widths: tuple[int, ...]  # of each column of figures, with the gap before it
    column_width: int


def add_legend(
    picture: RgbImage, title: LegendRow, rows: Sequence[LegendRow], font_size: int
) -> RgbImage:
    """Returns the picture with a legend panel at its right, or below it when there is more room.

    The picture itself stays in the top left corner, unchanged.

    Args:
        picture: RGB [H, W, 3].
        title: Name of the legend and headings of the columns of figures.
        rows: One per class.
        font_size: In pixels.
    """
    rows = _shortened(rows)
    layout = _measure(title, rows, font_size)
    height, width = picture.shape[:2]
    needed = layout.row_height * (len(rows) + 1) + 2 * layout.margin
    if width <= _MAX_ASPECT * height and needed <= height:
        panel = _draw_panel((layout.column_width, height), title, rows, layout, num_columns=1)
        return np.concatenate([picture, panel], axis=1)
    num_columns = max(1, min(width // layout.column_width, len(rows)))
    panel_width = max(width, layout.column_width)
    panel_height = layout.row_height * (1 + -(-len(rows) // num_columns)) + 2 * layout.margin
    panel = _draw_panel((panel_width, panel_height), title, rows, layout, num_columns)
    beside = np.full((height, panel_width - width, 3), _BACKGROUND, dtype=np.uint8)
    return np.concatenate([np.concatenate([picture, beside], axis=1), panel], axis=0)


def _shortened(rows: Sequence[LegendRow]) -> list[LegendRow]:
    if len(rows) <= _MAX_ROWS:
        return list(rows)
    remarks = [row for row in rows if row.color is None]
    entries = [row for row in rows if row.color is not None]
    shown = entries[: _MAX_ROWS - 1 - len(remarks)]
    return [*shown, LegendRow(f"and {len(entries) - len(shown)} more", None), *remarks]


def _measure(title: LegendRow, rows: Sequence[LegendRow], font_size: int) -> _Layout:
    gap, margin = round(_GAP * font_size), round(_MARGIN * font_size)
    name_start = round(_SWATCH_WIDTH * font_size) + gap
    figures = itertools.zip_longest(*(row.figures for row in (title, *rows)), fillvalue="")
    figure_widths = tuple(
        max(text_size(text, font_size)[0] for text in column) + 2 * gap for column in figures
    )
    names = [name_start + text_size(_fitted(row.name, font_size), font_size)[0] for row in rows]
    name_width = max([*names, text_size(title.name, font_size)[0]])
    column_width = name_width + sum(figure_widths) + 2 * margin
    row_height = round(_ROW_HEIGHT * font_size)
    return _Layout(font_size, row_height, margin, name_start, figure_widths, column_width)


def _fitted(text: str, font_size: int) -> str:
    """Returns the text, cut with an ellipsis where it is too long for a column."""
    limit = _MAX_NAME_WIDTH * font_size
    if text_size(text, font_size)[0] <= limit:
        return text
    while text and text_size(text + "…", font_size)[0] > limit:
        text = text[:-1]
    return text.rstrip() + "…"


def _draw_panel(
    size: tuple[int, int],
    title: LegendRow,
    rows: Sequence[LegendRow],
    layout: _Layout,
    num_columns: int,
) -> RgbImage:
    panel = Image.new("RGB", size, _BACKGROUND)
    canvas = ImageDraw.Draw(panel)
    num_lines = -(-len(rows) // num_columns)
    # a single column keeps its figures close to its names, several share the whole width
    column_width = max(layout.column_width, min(size[0] // num_columns, 2 * layout.column_width))
    column_width = min(column_width, size[0] // num_columns)
    for column in range(-(-len(rows) // num_lines)):
        left = column * column_width
        heading = title if column == 0 else LegendRow("", None, title.figures)
        lines = [heading, *rows[column * num_lines : (column + 1) * num_lines]]
        for line, row in enumerate(lines):
            middle = layout.margin + round(layout.row_height * (line + 0.5))
            _draw_row(canvas, row, left, left + column_width, middle, layout)
    return np.array(panel)


def _draw_row(
    canvas: ImageDraw.ImageDraw, row: LegendRow, left: int, right: int, middle: int, layout: _Layout
) -> None:
    size, font = layout.font_size, load_font(layout.font_size)
    start, end = left + layout.margin, right - layout.margin
    is_entry = row.color is not None
    if is_entry:
        swatch = (
            start,
            middle - size // 2,
            start + round(_SWATCH_WIDTH * size),
            middle + size // 2,
        )
        canvas.rounded_rectangle(swatch, max(1, size // 5), fill=row.color)
    name_start = start + (layout.name_start if is_entry else 0)
    ink = _INK if is_entry else _FAINT_INK
    canvas.text((name_start, middle), _fitted(row.name, size), fill=ink, font=font, anchor="lm")
    for text, width in zip(reversed(row.figures), reversed(layout.figure_widths)):
        canvas.text((end, middle), text, fill=_FAINT_INK, font=font, anchor="rm")
        end -= width
