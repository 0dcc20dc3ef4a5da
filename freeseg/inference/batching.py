"""Which images may share a batch."""

from __future__ import annotations

from collections.abc import Sequence


def groups_by_size(padded_sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indices of images that are padded to the same size whether alone or together.

    Args:
        padded_sizes: (height, width) to which every image is padded when it is alone.

    Returns:
        Groups in the order of their first image, each in the order of the images.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, size in enumerate(padded_sizes):
        groups.setdefault(size, []).append(index)
    return list(groups.values())
