"""Many masks of one photo in the memory of their outlines.

Shapes: N masks, R runs of all of them, H W photo size. Pixels are numbered down the columns, as
COCO's run-length codes number them: row y, column x is x * H + y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from freeseg.structures.frame import Size

Window = tuple[int, int, int, int]  # left, top, right, bottom in photo pixels, the last two outside


@dataclass(frozen=True, eq=False)
class Runs:
    """N masks on one grid as runs of set pixels; a mask is made when it is asked for.

    Attributes:
        size: (H, W).
        spans: int32 [R, 2], the first pixel of every run and the one after its last; those of a
            mask in rising order, with a gap between them.
        splits: int64 [N + 1], the runs of mask n are ``splits[n]`` to ``splits[n + 1]``.
    """

    size: Size
    spans: Tensor
    splits: Tensor

    def __post_init__(self) -> None:
        if self.spans.dim() != 2 or self.spans.shape[1] != 2 or self.splits.dim() != 1:
            raise ValueError(
                f"wanted spans [R, 2] and splits [N + 1], got {tuple(self.spans.shape)}, "
                f"{tuple(self.splits.shape)}"
            )

    @classmethod
    def of_masks(cls, masks: Tensor) -> Runs:
        """Those of bool masks [N, H, W], in one pass over all of them.

        Raises:
            ValueError: They are no such masks.
        """
        if masks.dim() != 3 or masks.dtype != torch.bool:
            raise ValueError(f"wanted bool masks [N, H, W], got {masks.dtype} {masks.shape}")
        count, height, width = masks.shape
        pixels = height * width
        # an unset pixel before every mask and after the last: no run reaches into the next mask
        line = masks.new_zeros(count * (pixels + 1) + 1)
        columns = line[:-1].view(count, pixels + 1)[:, 1:].unflatten(1, (width, height))
        columns.copy_(masks.mT)
        changes = torch.nonzero(line[1:] != line[:-1])[:, 0]  # begins and ends by turns
        spans = changes.remainder(pixels + 1).view(-1, 2)
        numbers = changes[::2].div(pixels + 1, rounding_mode="floor")
        return cls((height, width), spans.int(), _splits(numbers, count))

    @classmethod
    def joined(cls, parts: Sequence[Runs], size: Size) -> Runs:
        """The masks of several, one after the other; of none: no mask of that size.

        Raises:
            ValueError: They lie on another grid.
        """
        if any(part.size != size for part in parts):
            raise ValueError(f"wanted runs of {size}, got {[part.size for part in parts]}")
        if not parts:
            return cls(size, torch.zeros(0, 2, dtype=torch.int32), torch.zeros(1).long())
        counts = torch.cat([part.splits.diff() for part in parts])
        return cls(size, torch.cat([part.spans for part in parts]), _cumulated(counts))

    def __len__(self) -> int:
        return len(self.splits) - 1

    @property
    def nbytes(self) -> int:
        return self.spans.nbytes + self.splits.nbytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W), of the masks that they stand for."""
        return len(self), *self.size

    def to(self, device: torch.device | str) -> Runs:
        """On a device."""
        return Runs(self.size, self.spans.to(device), self.splits.to(device))

    def __getitem__(self, chosen: Any) -> Runs:
        """Some of the masks, by a bool mask [N], indices or a slice; one index gives one mask."""
        numbers = torch.arange(len(self), device=self.splits.device)[chosen].reshape(-1)
        counts = self.splits.diff()[numbers]
        splits = _cumulated(counts)
        shift = torch.repeat_interleave(self.splits[numbers] - splits[:-1], counts)
        taken = torch.arange(len(shift), device=shift.device) + shift
        return Runs(self.size, self.spans[taken], splits)

    def mask(self, number: int) -> Tensor:
        """One mask, bool [H, W].

        Raises:
            IndexError: There is none of that number.
        """
        mask = torch.zeros(self.size[::-1], dtype=torch.bool, device=self.spans.device)  # [W, H]
        first, columns = self._columns(number)
        mask[first : first + len(columns)] = columns
        return mask.mT.contiguous()

    def masks(self) -> Tensor:
        """All of them, bool [N, H, W], in that much memory."""
        masks = [self.mask(number) for number in range(len(self))]
        empty = torch.zeros(0, *self.size, dtype=torch.bool, device=self.spans.device)
        return torch.stack(masks) if masks else empty

    def areas(self) -> Tensor:
        """Pixels, int64 [N]."""
        areas = self.splits.new_zeros(len(self))
        return areas.index_add(0, self._owners(), self.spans.diff(dim=1)[:, 0].long())

    def boxes(self) -> Tensor:
        """Float [N, 4], tight xyxy boxes in pixels; zeros for an empty mask."""
        height, width = self.size
        first, last = self.spans[:, 0].long(), self.spans[:, 1].long() - 1
        left, right = first // height, last // height
        is_in_one_column = left == right
        top = torch.where(is_in_one_column, first % height, 0)
        bottom = torch.where(is_in_one_column, last % height, height - 1)
        owners = self._owners()
        least = [
            self.splits.new_full((len(self),), most).scatter_reduce(0, owners, side, "amin")
            for side, most in ((left, width), (top, height))
        ]
        most = [
            self.splits.new_full((len(self),), -1).scatter_reduce(0, owners, side, "amax") + 1
            for side in (right, bottom)
        ]
        is_there = self.splits.diff() > 0
        return (torch.stack([*least, *most], dim=1) * is_there[:, None]).float()

    def counts(self, number: int) -> list[int]:
        """COCO's uncompressed code of a mask: unset and set pixels by turns, unset first."""
        height, width = self.size
        bounds = [0, *self._spans(number).flatten().tolist()]
        if bounds[-1] != height * width:
            bounds.append(height * width)
        return [stop - start for start, stop in pairwise(bounds)]

    def placed(self, window: Window, size: Size) -> Runs:
        """The same masks, which were those of a window, on the grid of its whole photo.

        Args:
            window: Where in the photo they lie.
            size: (height, width) of the photo.

        Raises:
            ValueError: The window is not of their size or not in the photo.
        """
        left, top, right, bottom = window
        if self.size != (bottom - top, right - left) or bottom > size[0] or right > size[1]:
            raise ValueError(f"masks of {self.size} do not fill {window} of a photo of {size}")
        if self.size == size:
            return self
        if self.size[0] == size[0]:
            return Runs(size, self.spans + left * size[0], self.splits)
        spans, owners = self._by_column()
        columns = torch.div(spans[:, 0], self.size[0], rounding_mode="floor")
        moved = spans + ((columns + left) * size[0] + top - columns * self.size[0])[:, None]
        return Runs(size, moved.int(), _splits(owners, len(self)))

    def number_map(self, order: Sequence[int]) -> Tensor:
        """A mask's number from 1 at every pixel, int32 [H, W]; 0 where there is none.

        Args:
            order: Masks as they are painted, a later one over an earlier one.
        """
        numbers = torch.zeros(self.size[::-1], dtype=torch.int32, device=self.spans.device)
        for number in order:
            first, columns = self._columns(number)
            numbers[first : first + len(columns)].masked_fill_(columns, number + 1)
        return numbers.mT.contiguous()

    def _spans(self, number: int) -> Tensor:
        if not 0 <= number < len(self):
            raise IndexError(f"wanted one of {len(self)} masks, got number {number}")
        return self.spans[self.splits[number] : self.splits[number + 1]].long()

    def _columns(self, number: int) -> tuple[int, Tensor]:
        """The first column of a mask that is set, and from there to the last one bool [w, H]."""
        height = self.size[0]
        spans = self._spans(number)
        if not len(spans):
            return 0, self.spans.new_zeros(0, height).bool()
        first = int(spans[0, 0]) // height
        last = (int(spans[-1, 1]) - 1) // height
        ends = spans.new_tensor([first * height]), spans.new_tensor([(last + 1) * height])
        counts = torch.cat([ends[0], spans.flatten(), ends[1]]).diff()
        is_set = torch.arange(len(counts), device=counts.device) % 2 == 1
        return first, is_set.repeat_interleave(counts).view(-1, height)

    def _owners(self) -> Tensor:
        """The mask of every run, int64 [R]."""
        numbers = torch.arange(len(self), device=self.splits.device)
        return numbers.repeat_interleave(self.splits.diff())

    def _by_column(self) -> tuple[Tensor, Tensor]:
        """Runs that end where a column ends, int64, and the mask of each."""
        height = self.size[0]
        spans = self.spans.long()
        first = spans[:, 0] // height
        pieces = (spans[:, 1] - 1) // height - first + 1
        whole = torch.arange(len(spans), device=spans.device).repeat_interleave(pieces)
        index = torch.arange(len(whole), device=spans.device) - _cumulated(pieces)[whole]
        starts = (first[whole] + index) * height
        cut = torch.stack(
            [spans[whole, 0].maximum(starts), spans[whole, 1].minimum(starts + height)], dim=1
        )
        return cut, self._owners()[whole]


def _splits(owners: Tensor, count: int) -> Tensor:
    return _cumulated(owners.bincount(minlength=count))


def _cumulated(counts: Tensor) -> Tensor:
    """Sums int64 [N + 1] of what stands before every place of counts [N], and of all."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
