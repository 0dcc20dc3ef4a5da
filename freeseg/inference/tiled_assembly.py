"""Results without all masks, or all class scores, at the output's size.

The output is cut into tiles. Bilinear resizing leaves the range of the values that it reads, so
what a mask can be in a tile is bounded before it is computed there, and most masks, and most
classes, cannot win any of its pixels. What is left is computed, one tile at a time.

Shapes: Q queries, K classes, P and N of the queries, h w mask size, H W output size, y x tile size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.inference.assemble import (
    IN_MASK,
    Thresholds,
    best_pairs,
    check_tasks,
    confident_queries,
    number_segments,
    ranked_instances,
)
from freeseg.ops import mask_areas, mask_boxes
from freeseg.structures import InstanceSet, PanopticMap, SegmentationResult, Vocabulary

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
    ) -> Resizing:
        """From masks to the padded input, cut to the image, to the output: [h, w] to [H, W]."""
        rows, columns = (
            _axis(*sizes) for sizes in zip(mask_size, padded_size, image_size, output_size)
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


def assemble_in_tiles(
    tasks: Sequence[str],
    class_logits: Tensor,
    mask_logits: Tensor,
    resizing: Resizing,
    vocabulary: Vocabulary,
    thresholds: Thresholds,
    tile: int = 0,
) -> SegmentationResult:
    """Computes the tasks asked for; what is semantic are labels int64 [H, W] and no scores.

    Equal to resizing `mask_logits` and calling `assemble`, up to rounding where two are equal.

    Args:
        tasks: Names among `TASKS`.
        class_logits: [Q, K+1], the last column is "no object".
        mask_logits: [Q, h, w].
        resizing: To the output's size.
        vocabulary: The K classes.
        thresholds: What is kept.
        tile: Pixels of a tile's side; 0 chooses.

    Raises:
        ValueError: On an unknown task.
    """
    check_tasks(tasks)
    with torch.autocast(mask_logits.device.type, enabled=False):
        class_probs, mask_logits = class_logits.float().softmax(-1), mask_logits.float()
        resizing = resizing.to(mask_logits)
        size = len(resizing.rows), len(resizing.columns)
        is_thing = vocabulary.thing_mask(like=class_probs)
        semantic = instances = panoptic = None
        painters: list[Painter] = []
        if "semantic" in tasks:
            painters.append(semantic := _Semantic(class_probs, size))
        if "instance" in tasks:
            painters.append(instances := _Instances(class_probs, is_thing, thresholds, size))
        if "panoptic" in tasks:
            painters.append(panoptic := _Panoptic(class_probs, is_thing, thresholds, size))
        _paint(painters, mask_logits, resizing, tile or _side(mask_logits.device))
        return SegmentationResult(
            semantic=semantic.labels if semantic else None,
            instances=instances.result() if instances else None,
            panoptic=panoptic.result() if panoptic else None,
        )


def best_labels(
    class_probs: Tensor, mask_probs: Tensor, resizing: Resizing | None = None, tile: int = 0
) -> Tensor:
    """Labels int64 [H, W] of the highest score, where scores are summed first and then resized.

    Equal to the argmax of ``einsum("qk,qhw->khw")``, resized, up to rounding where two are equal.

    Args:
        class_probs: [Q, K], without "no object"; rows need not sum to 1.
        mask_probs: [Q, h, w].
        resizing: Of the scores, to the output's size; None leaves them.
        tile: Pixels of a tile's side; 0 chooses.
    """
    size = mask_probs.shape[-2], mask_probs.shape[-1]
    is_resized = resizing is not None
    resizing = (resizing or Resizing.of(size, size, size, size)).to(mask_probs)
    size = len(resizing.rows), len(resizing.columns)
    labels = torch.empty(size, dtype=torch.int64, device=mask_probs.device)
    with torch.autocast(mask_probs.device.type, enabled=False):
        for part in _tiles(resizing, tile or _side(mask_probs.device)):
            window = mask_probs[:, part.source[0], part.source[1]]
            rivals = _Rivals.among(class_probs, Range(*window.flatten(1).aminmax(dim=1)))
            if len(rivals.classes) == 1:
                labels[part.target] = rivals.classes[0]
                continue
            scores = rivals.scores(window[rivals.queries])
            if is_resized:
                scores = part.rows @ scores @ part.columns.T
            labels[part.target] = rivals.classes[scores.max(0).indices]
    return labels


def _paint(painters: Sequence[Painter], mask_logits: Tensor, resizing: Resizing, side: int) -> None:
    place = mask_logits.new_zeros(len(mask_logits), dtype=torch.int64)
    for tile in _tiles(resizing, side):
        window = mask_logits[:, tile.source[0], tile.source[1]]  # [Q, h', w']
        low, high = window.flatten(1).aminmax(dim=1)
        bounds = Range(low.sigmoid(), high.sigmoid())
        wanted = [painter.wanted(tile, bounds) for painter in painters]
        queries = torch.stack(wanted).any(0).nonzero()[:, 0]  # [A]
        place[queries] = torch.arange(len(queries), device=place.device)
        probs = (tile.rows @ window[queries] @ tile.columns.T).sigmoid_()  # [A, y, x]
        for painter in painters:
            painter.paint(tile, bounds, probs, place)


class _Semantic:
    """The class of the highest score, a sum of masks weighted by class probability."""

    def __init__(self, class_probs: Tensor, size: tuple[int, int]) -> None:
        self.weights = class_probs[:, :-1]  # [Q, K]
        self.labels = torch.empty(size, dtype=torch.int64, device=class_probs.device)
        self._rivals: _Rivals

    def wanted(self, tile: Tile, bounds: Range) -> Tensor:
        self._rivals = _Rivals.among(self.weights, bounds)
        return _flags(bounds, self._rivals.queries)

    def paint(self, tile: Tile, bounds: Range, probs: Tensor, place: Tensor) -> None:
        rivals = self._rivals
        if len(rivals.classes) == 1:
            self.labels[tile.target] = rivals.classes[0]
            return
        scores = rivals.scores(probs[place[rivals.queries]])
        self.labels[tile.target] = rivals.classes[scores.max(0).indices]


@dataclass(frozen=True)
class _Rivals:
    """The classes that may win a pixel of a tile, and the masks that matter to them.

    Of the differences to one class the bounds are tight: what both gain by a mask cancels.
    """

    classes: Tensor  # [C]
    queries: Tensor  # [A], none where there is one class
    weights: Tensor  # [A, C], of the queries' masks in the classes' scores

    @classmethod
    def among(cls, weights: Tensor, bounds: Range) -> _Rivals:
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


class _Panoptic:
    """Every pixel's most probable confident mask, and what is counted to tell who is shown."""

    def __init__(
        self, class_probs: Tensor, is_thing: Tensor, thresholds: Thresholds, size: tuple[int, int]
    ) -> None:
        self.queries, self.scores, self.labels = confident_queries(
            class_probs, thresholds.min_score
        )
        self.is_thing = is_thing
        self.min_visible_share = thresholds.min_visible_share
        self.min_area = thresholds.min_area
        counts = class_probs.new_zeros((3, len(self.queries)), dtype=torch.int64)
        self.won, self.area, self.original = counts  # [P] each
        # the winner of every pixel, P where no mask is
        self.winner = class_probs.new_full(size, len(self.queries), dtype=torch.int16)
        self._rivals = self._unsure = self.queries

    def wanted(self, tile: Tile, bounds: Range) -> Tensor:
        if not len(self.queries):
            return _flags(bounds, self.queries)
        low, high = bounds.low[self.queries], bounds.high[self.queries]
        least = (self.scores * low).max()
        self._rivals = (~(self.scores * high < least)).nonzero()[:, 0]  # so that nan is one
        self._unsure = ((low < IN_MASK) & (high >= IN_MASK)).nonzero()[:, 0]
        is_wanted = _flags(bounds, self.queries[self._unsure])
        if len(self._rivals) > 1:
            is_wanted[self.queries[self._rivals]] = True
        return is_wanted

    def paint(self, tile: Tile, bounds: Range, probs: Tensor, place: Tensor) -> None:
        if not len(self.queries):
            return
        self.original += tile.area * (bounds.low[self.queries] >= IN_MASK)
        inside = probs[place[self.queries[self._unsure]]] >= IN_MASK
        self.original[self._unsure] += mask_areas(inside)
        only = self._rivals[0]
        if len(self._rivals) == 1 and not bool((self._unsure == only).any()):
            self.won[only] += tile.area
            if bounds.low[self.queries[only]] >= IN_MASK:
                self.area[only] += tile.area
                self.winner[tile.target] = only.to(self.winner.dtype)
            return
        rivals = probs[place[self.queries[self._rivals]]]  # [R, y, x]
        scores = self.scores[self._rivals][:, None, None]
        first = (scores * rivals).max(0).indices  # [y, x]; faster than argmax
        is_inside = rivals.gather(0, first[None])[0] >= IN_MASK
        winner = self._rivals[first]
        self.won += winner.flatten().bincount(minlength=len(self.won))
        self.area += winner[is_inside].bincount(minlength=len(self.area))
        nobody = len(self.queries)
        self.winner[tile.target] = winner.where(is_inside, nobody).to(self.winner.dtype)

    def result(self) -> PanopticMap:
        shown = (self.area > 0) & (self.won >= self.min_visible_share * self.original)
        segments, number = number_segments(
            self.labels, self.scores, self.area, shown, self.is_thing
        )
        number = F.pad(number, (0, 1))  # nobody's pixels are 0
        ids = torch.empty_like(self.winner, dtype=torch.int32)
        for part, winner in zip(ids.split(SIDE), self.winner.split(SIDE)):
            part.copy_(number[winner.long()])  # indices are int64: not all at once
        return PanopticMap(ids, segments).without_small(self.min_area)


class _Instances:
    """The best pairs of mask and class; tiles without any of a mask are not kept."""

    def __init__(
        self, class_probs: Tensor, is_thing: Tensor, thresholds: Thresholds, size: tuple[int, int]
    ) -> None:
        self.size = size
        self.scores, queries, self.labels = best_pairs(
            class_probs, is_thing, thresholds.max_instances
        )
        self.queries, self.row = queries.unique(return_inverse=True)  # [P], [N]
        self.area = torch.zeros_like(self.queries)
        self.mass = class_probs.new_zeros(len(self.queries))  # of the probabilities in the mask
        self._parts: list[tuple[Tile, Tensor, Tensor]] = []
        self._present = self.queries

    def wanted(self, tile: Tile, bounds: Range) -> Tensor:
        self._present = (bounds.high[self.queries] > IN_MASK).nonzero()[:, 0]
        return _flags(bounds, self.queries[self._present])

    def paint(self, tile: Tile, bounds: Range, probs: Tensor, place: Tensor) -> None:
        if not len(self._present):
            return
        present = probs[place[self.queries[self._present]]]  # [A, y, x]
        masks = present > IN_MASK
        self.area[self._present] += mask_areas(masks)
        self.mass[self._present] += (present * masks).flatten(1).sum(1)
        self._parts.append((tile, self._present, masks))

    def result(self) -> InstanceSet:
        order, scores = ranked_instances(self.scores, self.mass, self.area, self.row)
        row = self.row[order]  # [N]
        masks = torch.zeros((len(row), *self.size), dtype=torch.bool, device=row.device)
        place = torch.empty_like(self.queries)
        for tile, present, parts in self._parts:
            place.fill_(-1)
            place[present] = torch.arange(len(present), device=place.device)
            shown = (place[row] >= 0).nonzero()[:, 0]
            masks[:, tile.target[0], tile.target[1]][shown] = parts[place[row[shown]]]
        return InstanceSet(masks, mask_boxes(masks), self.labels[order], scores)


def _flags(bounds: Range, queries: Tensor) -> Tensor:
    """Bool [Q], true for some queries."""
    flags = torch.zeros_like(bounds.low, dtype=torch.bool)
    flags[queries] = True
    return flags


def _side(device: torch.device) -> int:
    return SIDE if device.type == "cpu" else SIDE_ON_GPU


def _tiles(resizing: Resizing, side: int) -> Iterator[Tile]:
    columns = list(_spans(resizing.columns, side))
    for target_rows, source_rows, row_matrix in _spans(resizing.rows, side):
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


def _axis(mask: int, padded: int, image: int, output: int) -> Tensor:
    """[output, mask]: an axis is enlarged to the padded input, cut, and resized to the output."""
    weights = torch.eye(mask)[None]  # [1, mask, mask]: where every input pixel goes
    weights = F.interpolate(weights, padded, mode="linear", align_corners=False)[..., :image]
    return F.interpolate(weights, output, mode="linear", align_corners=False)[0].T.contiguous()
