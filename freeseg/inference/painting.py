"""Results are painted tile by tile of the output, without all masks at its size.

Bilinear resizing leaves the range of the values that it reads, so what a mask can be in a tile is
bounded before it is computed there, and most masks, and most classes, cannot win any of its pixels.
What is left is computed, one tile at a time.

Shapes: Q queries, K classes, A and C of them, h w mask size, H W output size, y x tile size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 96  # pixels of a tile's side: smaller ones hold fewer masks, larger ones take fewer steps
SIDE_ON_GPU = 1024  # where steps cost more than what is in them
NEGLIGIBLE = 1e-8  # share of a score that rounding may take as well


@dataclass(frozen=True)
class Resizing:
    """Bilinear resizes and crops, one after another, as one matrix per axis.

    Attributes:
        rows: [H, h], what every output row takes of the input rows; a row sums to 1.
        columns: [W, w].
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def of(
        cls,
        mask_size: tuple[int, int],
        padded_size: tuple[int, int],
        image_size: tuple[int, int],
        output_size: tuple[int, int],
        *,
        align_corners: bool = False,
    ) -> Resizing:
        """From masks to the padded input, cut to the image, to the output: [h, w] to [H, W].

        Args:
            mask_size: (h, w).
            padded_size: In pixels, as all that follow.
            image_size: Inside the padding.
            output_size: (H, W).
            align_corners: Of the first resize, as PyTorch means it.
        """
        rows, columns = (
            _axis(*sizes, align_corners)
            for sizes in zip(mask_size, padded_size, image_size, output_size)
        )
        return cls(rows, columns)

    def to(self, like: Tensor) -> Resizing:
        """On the device of a tensor, in its precision."""
        return Resizing(self.rows.to(like), self.columns.to(like))


@dataclass(frozen=True)
class Tile:
    """A rectangle of the output, and the matrices that compute it from a rectangle of the input."""

    target: tuple[slice, slice]  # of [H, W]
    source: tuple[slice, slice]  # of [h, w]
    rows: Tensor  # [y, h']
    columns: Tensor  # [x, w']

    @property
    def area(self) -> int:
        return len(self.rows) * len(self.columns)


@dataclass(frozen=True)
class Range:
    """Bounds of the probabilities of every mask in a tile, [Q] each."""

    low: Tensor
    high: Tensor


class Painter(Protocol):
    """Makes one output, tile by tile."""

    def wanted(self, tile: Tile, bounds: Range) -> Tensor:
        """Bool [Q]: the masks that decide something in the tile."""

    def paint(self, tile: Tile, bounds: Range, probs: Tensor, place: Tensor) -> None:
        """Decides a tile.

        Args:
            tile: The tile.
            bounds: Of its masks.
            probs: [A, y, x], of the masks that any painter wants.
            place: int64 [Q], where in `probs` a mask is.
        """


def paint(
    painters: Sequence[Painter], mask_logits: Tensor, resizing: Resizing, side: int = 0
) -> None:
    """Shows every painter every tile.

    Args:
        painters: What is made.
        mask_logits: [Q, h, w].
        resizing: To the output's size.
        side: Pixels of a tile's side; 0 chooses.
    """
    place = mask_logits.new_zeros(len(mask_logits), dtype=torch.int64)
    for tile in tiles(resizing, side):
        window = mask_logits[:, tile.source[0], tile.source[1]]  # [Q, h', w']
        low, high = window.flatten(1).aminmax(dim=1)
        bounds = Range(low.sigmoid(), high.sigmoid())
        wanted = [painter.wanted(tile, bounds) for painter in painters]
        queries = torch.stack(wanted).any(0).nonzero()[:, 0]  # [A]
        place[queries] = torch.arange(len(queries), device=place.device)
        probs = (tile.rows @ window[queries] @ tile.columns.T).sigmoid_()  # [A, y, x]
        for painter in painters:
            painter.paint(tile, bounds, probs, place)


@dataclass(frozen=True)
class Rivals:
    """The classes that may win a pixel of a tile, and the masks that matter to them.

    Of the differences to one class the bounds are tight: what both gain by a mask cancels.
    """

    classes: Tensor  # [C]
    queries: Tensor  # [A], none where there is one class
    weights: Tensor  # [A, C], of the queries' masks in the classes' scores

    @classmethod
    def among(cls, weights: Tensor, bounds: Range) -> Rivals:
        lowest = bounds.low @ weights  # [K]
        leader = lowest.argmax()
        lead = weights - weights[:, leader, None]  # [Q, K], over the leader
        most = bounds.high @ lead.clamp(min=0) + bounds.low @ lead.clamp(max=0)
        # not "at least": what is no number must not leave a tile without classes
        classes = (~(most < -NEGLIGIBLE * lowest[leader])).nonzero()[:, 0]
        if len(classes) == 1:
            queries = classes[:0]
        else:
            share = bounds.high * weights[:, classes].amax(1)
            queries = (~(share <= NEGLIGIBLE * share.sum())).nonzero()[:, 0]
        return cls(classes, queries, weights[queries][:, classes])

    def scores(self, probs: Tensor) -> Tensor:
        """Class scores [C, y, x] of the queries' masks [A, y, x]."""
        return (self.weights.T @ probs.flatten(1)).view(-1, *probs.shape[1:])


def join_masks(
    parts: Sequence[tuple[Tile, Tensor, Tensor]], rows: Tensor, count: int, size: tuple[int, int]
) -> Tensor:
    """Bool [N, H, W] of masks whose tiles were kept; where no tile is, they are empty.

    Args:
        parts: A tile, int64 [A] which masks are in it, bool [A, y, x].
        rows: int64 [N], which masks are wanted; they may repeat.
        count: Of all masks.
        size: (H, W).
    """
    masks = torch.zeros((len(rows), *size), dtype=torch.bool, device=rows.device)
    place = rows.new_empty(count)  # of a mask in the tile
    for tile, present, part in parts:
        place.fill_(-1)
        place[present] = torch.arange(len(present), device=place.device)
        shown = (place[rows] >= 0).nonzero()[:, 0]
        masks[:, tile.target[0], tile.target[1]][shown] = part[place[rows[shown]]]
    return masks


def flags(bounds: Range, queries: Tensor) -> Tensor:
    """Bool [Q], true for some queries."""
    flags = torch.zeros_like(bounds.low, dtype=torch.bool)
    flags[queries] = True
    return flags


def tiles(resizing: Resizing, height: int = 0, width: int = 0) -> Iterator[Tile]:
    """All tiles of the output, row by row.

    Args:
        resizing: To the output.
        height: Of a tile, in pixels; 0 chooses what suits the device.
        width: The same, as the height where it is 0.
    """
    height = height or (SIDE if resizing.rows.device.type == "cpu" else SIDE_ON_GPU)
    columns = list(_spans(resizing.columns, width or height))
    for target_rows, source_rows, row_matrix in _spans(resizing.rows, height):
        for target_columns, source_columns, column_matrix in columns:
            yield Tile(
                (target_rows, target_columns),
                (source_rows, source_columns),
                row_matrix,
                column_matrix,
            )


def _spans(matrix: Tensor, side: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Parts of an axis: output pixels, input pixels that they read, the matrix between them."""
    for start in range(0, len(matrix), side):
        target = slice(start, min(start + side, len(matrix)))
        read = matrix[target].any(0).nonzero()[:, 0]
        source = slice(int(read[0]), int(read[-1]) + 1)
        yield target, source, matrix[target, source].contiguous()


def _axis(mask: int, padded: int, image: int, output: int, align_corners: bool) -> Tensor:
    """[output, mask]: an axis is enlarged to the padded input, cut, and resized to the output."""
    weights = torch.eye(mask)[None]  # [1, mask, mask]: where every input pixel goes
    weights = F.interpolate(weights, padded, mode="linear", align_corners=align_corners)
    weights = weights[..., :image]
    return F.interpolate(weights, output, mode="linear", align_corners=False)[0].T.contiguous()
