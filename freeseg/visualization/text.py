"""Text on pictures: one font that every installation has, measured and drawn through Pillow."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_FONT_FILE = "DejaVuSans-Bold.ttf"


@lru_cache(maxsize=64)
def load_font(size: int) -> Font:
    """Returns the font at a pixel size: Matplotlib's DejaVu Sans, or Pillow's own without it."""
    path = _matplotlib_font()
    if path is not None:
        return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def text_size(text: str, font_size: int) -> tuple[int, int]:
    """Returns (width, height) in pixels; the height is the line's, the same for every text."""
    font = load_font(font_size)
    left, _, right, _ = font.getbbox(text)
    _, top, _, bottom = font.getbbox("Ağjy")
    return int(right - left), int(bottom - top)


@lru_cache(maxsize=1)
def _matplotlib_font() -> Path | None:
    spec = importlib.util.find_spec("matplotlib")  # finds without the cost of importing
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / _FONT_FILE
        if path.is_file():
            return path
    return None
