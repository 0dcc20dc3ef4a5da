"""Whether what a COCO JSON calls a segmentation is one.

Shapes: H W image size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

FIRST_CHARACTER = 48  # COCO's text of runs counts from "0"
FARTHEST = 1_000_000  # pixels; COCO's reader walks along the edges, without end if they are long
_PLAIN = frozenset({int, float})  # kinds of numbers in JSON
BITS, SIGN, MORE = 5, 0x10, 0x20  # of a character: its bits, and two flags among six


def check_segmentation(segmentation: Any, size: tuple[int, int]) -> None:
    """Refuses what cannot be drawn on an image of `size` (height, width).

    Runs that do not fill the image are refused here because COCO's own reader would fill the rest
    with whatever the memory holds.

    Raises:
        ValueError: Saying what is wrong.
        TypeError: When it is neither polygons, nor runs, nor a mask.
    """
    if isinstance(segmentation, list):
        for polygon in segmentation:
            _check_polygon(polygon)
    elif isinstance(segmentation, dict):
        _check_runs(segmentation, size)
    elif isinstance(segmentation, np.ndarray) and segmentation.ndim == 2:
        _check_size(segmentation.shape, size)
    else:
        raise TypeError(
            "a segmentation is a list of polygons, a COCO run-length dict or a mask [H, W], "
            f"got {type(segmentation).__name__}"
        )


def drawable(segmentation: Any, size: tuple[int, int]) -> Any:
    """What can be drawn of a segmentation: polygons without those of under three points, or runs.

    Returns:
        None where nothing is left: an object without a mask.

    Raises:
        ValueError: Saying what is wrong.
        TypeError: When it is neither polygons, nor runs, nor a mask.
    """
    if segmentation is None or (hasattr(segmentation, "__len__") and len(segmentation) == 0):
        return None
    check_segmentation(segmentation, size)
    if isinstance(segmentation, list):
        return [polygon for polygon in segmentation if len(polygon) >= 6] or None
    return segmentation


def box_of(segmentation: Any, size: tuple[int, int]) -> list[float]:
    """Left, top, width and height of what `drawable` returned, polygons as they are written."""
    if isinstance(segmentation, list):
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in segmentation])
        low, high = points.min(0), points.max(0)
        return [*low.tolist(), *(high - low).tolist()]
    return [float(side) for side in rle_codec.toBbox(as_runs(segmentation, size))]


def as_runs(segmentation: Any, size: tuple[int, int]) -> Any:
    """What `drawable` returned as the run-length dict that COCO's library takes."""
    if isinstance(segmentation, list):
        return rle_codec.merge(rle_codec.frPyObjects(segmentation, *size))
    if isinstance(segmentation, np.ndarray):
        return rle_codec.encode(np.asfortranarray(segmentation, dtype=np.uint8))
    if isinstance(segmentation["counts"], list):
        return rle_codec.frPyObjects(segmentation, *size)
    return segmentation


def run_lengths(text: str | bytes) -> list[int]:
    """The runs in COCO's text form: signed numbers of 5 bits a character, lowest first.

    From the fourth on, each is the difference to the one before the last.

    Raises:
        ValueError: When the text ends within a number.
    """
    codes = text if isinstance(text, bytes) else text.encode("latin1")
    runs: list[int] = []
    value = shift = 0
    for code in codes:
        digit = code - FIRST_CHARACTER
        value |= (digit & (2**BITS - 1)) << shift
        shift += BITS
        if digit & MORE:
            continue
        if digit & SIGN:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("its runs are cut off")
    return runs


def _check_polygon(polygon: Any) -> None:
    numbers = polygon if isinstance(polygon, (list, tuple)) else ()
    if set(map(type, numbers)) <= _PLAIN:  # files of millions of polygons: no loop of ours
        is_flat = all(map(math.isfinite, numbers))
    else:
        is_flat = all(isinstance(x, (int, float)) and math.isfinite(x) for x in numbers)
    if not is_flat or len(numbers) % 2 or numbers is not polygon:
        raise ValueError(f"a polygon is a list x, y, x, y ... of numbers, got {polygon!r:.60}")
    if numbers and max(map(abs, numbers)) > FARTHEST:
        raise ValueError(f"a polygon is more than {FARTHEST:,} pixels away: {polygon!r:.60}")


def _check_runs(code: dict[str, Any], size: tuple[int, int]) -> None:
    if not {"counts", "size"} <= set(code):
        raise ValueError(f"a run-length dict has counts and size, got {sorted(code)}")
    _check_size(code["size"], size)
    counts = code["counts"]
    if not isinstance(counts, (str, bytes, list)):
        raise ValueError(f"counts are a list or a text, got {type(counts).__name__}")
    runs = counts if isinstance(counts, list) else run_lengths(counts)
    if not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError("its runs must be whole numbers from 0")
    if sum(runs) != size[0] * size[1]:
        raise ValueError(
            f"its runs fill {sum(runs)} pixels, the image has {size[0]}x{size[1]} (height x width)"
        )


def _check_size(found: Any, size: tuple[int, int]) -> None:
    if not isinstance(found, (list, tuple)) or tuple(found) != tuple(size):
        raise ValueError(f"it is for an image of {found!r} (height, width), this one is {size}")
