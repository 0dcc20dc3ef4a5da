"""Masks of a result that are made when they are asked for.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_codec

from freeseg.data.coco_writer import encode_rle
from freeseg.structures import Runs

BoolMask = npt.NDArray[np.bool_]


class StoredMasks:
    """Reads like an array [N, H, W], one mask at a time; NumPy makes all of them at once."""

    dtype = np.dtype(np.bool_)
    ndim = 3

    def __init__(self, runs: Runs) -> None:
        self.runs = runs.to("cpu")

    def __repr__(self) -> str:
        return f"StoredMasks{self.shape}"

    def __len__(self) -> int:
        return len(self.runs)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""
        return self.runs.shape

    @overload
    def __getitem__(self, chosen: int | np.integer[Any]) -> BoolMask: ...

    @overload
    def __getitem__(self, chosen: Any) -> BoolMask | StoredMasks: ...

    def __getitem__(self, chosen: Any) -> BoolMask | StoredMasks:
        """A mask [H, W] by its number, or some of them by a slice, indices or a bool mask."""
        if isinstance(chosen, (int, np.integer)):
            number = int(chosen) + len(self) * (chosen < 0)
            mask: BoolMask = self.runs.mask(number).numpy()
            return mask
        return StoredMasks(self.runs[chosen])

    def __iter__(self) -> Iterator[BoolMask]:
        return (self[number] for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        masks = self.runs.masks().numpy()
        return masks if dtype is None else masks.astype(dtype)


Masks = BoolMask | StoredMasks


def segmentation_of(masks: Masks | None, number: int) -> dict[str, Any]:
    """A mask as it stands in a row of COCO's JSON; nothing of a box."""
    return {} if masks is None else {"segmentation": code_of(masks, number)}


def code_of(masks: Masks, number: int) -> dict[str, Any]:
    """COCO's compressed run-length code of a mask."""
    if not isinstance(masks, StoredMasks):
        return encode_rle(masks[number])
    height, width = masks.shape[1:]
    counts = masks.runs.counts(number)
    code = rle_codec.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": code["counts"].decode("ascii")}
