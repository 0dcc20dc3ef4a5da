"""Which images may share a batch."""

from __future__ import annotations

from collections.abc import Sequence


def groups_by_padded_size(sizes: Sequence[tuple[int, int]], divisibility: int) -> list[list[int]]:
    """Indices of images that are padded to the same size whether alone or together.

    Args:
        sizes: (height, width) of every image.
        divisibility: Both are padded up to a multiple of it; 0 or 1: not at all.

    Returns:
        Groups in the order of their first image, each in the order of the images.
    """
    step = max(divisibility, 1)
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (height, width) in enumerate(sizes):
        padded = -(-height // step) * step, -(-width // step) * step
        groups.setdefault(padded, []).append(index)
    return list(groups.values())
