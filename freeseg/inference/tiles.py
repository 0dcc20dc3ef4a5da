"""Images that do not fit into memory are segmented tile by tile, and the tiles are joined.

Shapes: K classes, N instances, h w input size, H W output size.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from freeseg.inference.joining import (
    JoinedCertainty,
    JoinedInstances,
    JoinedLabels,
    JoinedPanoptic,
)
from freeseg.structures import CERTAINTY_KEY, refuse_prompt

logger = logging.getLogger(__name__)

Model = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]

MIN_TILE = 32  # pixels of the input; smaller tiles show a model nothing
OVERLAP = 0.25  # of a tile's side, by which it reaches over its neighbour


@dataclass(frozen=True)
class Span:
    """A tile's extent along one axis, in the input and in the output."""

    source: slice
    target: slice
    own_start: int  # first pixel of the output that no earlier tile decides


def segment_within_memory(
    model: Model, batch: Sequence[dict[str, Any]], max_instances: int | None = None
) -> list[dict[str, Any]]:
    """The model's results; images that are too many go one by one, what is too large in tiles.

    In tiles, ``sem_seg`` is the class map int64 [H, W] instead of scores [K, H, W], and things
    are joined across borders where tiles agree about them.

    Args:
        model: Keeps Detectron2's contract.
        batch: Inputs of images, with ``image``, ``height`` and ``width``.
        max_instances: Kept of an image in tiles, of which each has as many as the model gives for
            an image; None keeps all.

    Raises:
        MemoryError: When not even the smallest tiles fit.
        ValueError: The image does not fit, and its prompt cannot be answered in tiles.
    """
    try:
        return model(list(batch))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    torch.cuda.empty_cache()
    if len(batch) > 1:
        return [segment_within_memory(model, [inputs], max_instances)[0] for inputs in batch]
    return [_in_ever_smaller_tiles(model, batch[0], max_instances)]


def _in_ever_smaller_tiles(
    model: Model, inputs: Mapping[str, Any], max_instances: int | None
) -> dict[str, Any]:
    height, width = inputs["image"].shape[-2:]
    parts = 2
    while max(height, width) / parts >= MIN_TILE:
        logger.warning(
            "an image of %dx%d pixels does not fit into memory: trying %d x %d tiles",
            *(inputs["width"], inputs["height"]),
            *(_num_parts(width, parts), _num_parts(height, parts)),
        )
        try:
            return segment_in_tiles(model, inputs, parts, max_instances)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()
        parts *= 2
    raise MemoryError(
        f"an image of {inputs['width']}x{inputs['height']} pixels does not fit into memory, "
        "not even in tiles"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a failure is one of memory: PyTorch has no one class for a full main memory."""
    is_full = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return is_full or "allocate memory" in str(error) or "not enough memory" in str(error)


def segment_in_tiles(
    model: Model, inputs: Mapping[str, Any], parts: int, max_instances: int | None = None
) -> dict[str, Any]:
    """Segments an image in `parts` overlapping tiles along each side (fewer where it is short).

    Raises:
        ValueError: The prompt says more than a class list: it is about the photo, not about tiles.
    """
    refuse_prompt(inputs, "tiles")
    joiners = {**_JOINERS, "instances": partial(JoinedInstances, max_instances=max_instances)}
    size = int(inputs["height"]), int(inputs["width"])
    joined: dict[str, Any] = {}
    for rows, columns in _tiles(tuple(inputs["image"].shape[-2:]), size, parts):
        part = {
            **inputs,
            "image": inputs["image"][:, rows.source, columns.source],
            "height": rows.target.stop - rows.target.start,
            "width": columns.target.stop - columns.target.start,
        }
        place = (rows.target, columns.target)
        own = (rows.own_start - rows.target.start, columns.own_start - columns.target.start)
        for key, value in model([part])[0].items():
            if key not in joined:
                joined[key] = joiners[key](size)
            joined[key].add(value, place, own)
    return {key: joiner.result() for key, joiner in joined.items()}


_JOINERS: dict[str, Any] = {
    "sem_seg": JoinedLabels,
    "panoptic_seg": JoinedPanoptic,
    CERTAINTY_KEY: JoinedCertainty,
}


def _tiles(
    source: tuple[int, ...], target: tuple[int, int], parts: int
) -> Iterator[tuple[Span, Span]]:
    for rows in spans(source[0], target[0], parts):
        for columns in spans(source[1], target[1], parts):
            yield rows, columns


def spans(source: int, target: int, parts: int) -> list[Span]:
    """Overlapping tiles along an axis of `source` pixels in the input and `target` in the output.

    Every pixel is in a tile; a tile's own pixels begin in the middle of what it shares with the
    one before.
    """
    parts = _num_parts(source, parts)
    parts = min(parts, target)
    margin = int(source / parts * OVERLAP / 2)
    edges = [source * index // parts for index in range(parts + 1)]

    def scaled(pixel: int) -> int:
        return round(pixel * target / source)

    found = []
    for start, stop in itertools.pairwise(edges):
        first, last = max(start - margin, 0), min(stop + margin, source)
        found.append(Span(slice(first, last), slice(scaled(first), scaled(last)), scaled(start)))
    return found


def _num_parts(side: int, parts: int) -> int:
    return max(1, min(parts, side // MIN_TILE))
