"""Results without all masks, or all class scores, at the output's size: `painting` in tiles.

Shapes: Q queries, K classes, P and N of the queries, h w mask size, H W output size, y x tile size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.inference.assemble import (
    IN_MASK,
    Thresholds,
    best_pairs,
    confident_queries,
    number_segments,
    ranked_instances,
)
from freeseg.inference.painting import (
    SIDE,
    Painter,
    Range,
    Resizing,
    Rivals,
    Tile,
    flags,
    join_masks,
    paint,
    tiles,
)
from freeseg.ops import mask_areas, mask_boxes
from freeseg.structures import (
    InstanceSet,
    PanopticMap,
    SegmentationResult,
    SemanticMap,
    Vocabulary,
    read_tasks,
)

STRIP = 2**13  # pixels for which all masks are computed at once
STRIP_ON_GPU = 2**20


def assemble_in_tiles(
    tasks: Sequence[str],
    class_logits: Tensor,
    mask_logits: Tensor,
    resizing: Resizing,
    vocabulary: Vocabulary,
    thresholds: Thresholds,
    tile: int = 0,
    *,
    wants_scores: bool = False,
) -> SegmentationResult:
    """Computes the tasks asked for.

    Equal to resizing `mask_logits` and calling `assemble`, up to rounding where two are equal.

    Args:
        tasks: Of a class list.
        class_logits: [Q, K+1], the last column is "no object".
        mask_logits: [Q, h, w].
        resizing: To the output's size.
        vocabulary: The K classes.
        thresholds: What is kept.
        tile: Pixels of a tile's side; 0 chooses.
        wants_scores: What is semantic are scores [K, H, W]; else labels int64 [H, W].

    Raises:
        ValueError: On an unknown task.
    """
    tasks = read_tasks(tasks)
    with torch.autocast(mask_logits.device.type, enabled=False):
        class_probs, mask_logits = class_logits.float().softmax(-1), mask_logits.float()
        resizing = resizing.to(mask_logits)
        size = len(resizing.rows), len(resizing.columns)
        is_thing = vocabulary.thing_mask(like=class_probs)
        labels = instances = panoptic = None
        painters: list[Painter] = []
        if "semantic" in tasks and not wants_scores:
            painters.append(labels := _Semantic(class_probs, size))
        if "instance" in tasks:
            painters.append(instances := _Instances(class_probs, is_thing, thresholds, size))
        if "panoptic" in tasks:
            painters.append(panoptic := _Panoptic(class_probs, is_thing, thresholds, size))
        if painters:
            paint(painters, mask_logits, resizing, tile)
        semantic = SemanticMap(labels=labels.labels) if labels else None
        if "semantic" in tasks and wants_scores:
            scores = class_scores(class_probs[:, :-1], mask_logits, resizing)
            semantic = SemanticMap(scores=scores)
        return SegmentationResult(
            semantic=semantic,
            instances=instances.result() if instances else None,
            panoptic=panoptic.result() if panoptic else None,
        )


def class_scores(weights: Tensor, mask_logits: Tensor, resizing: Resizing) -> Tensor:
    """Scores [K, H, W]: masks at the output's size weighted by class probability.

    Equal to ``einsum("qk,qhw->khw")`` of them, up to rounding, without having them.

    Args:
        weights: [Q, K].
        mask_logits: [Q, h, w].
        resizing: To the output's size.
    """
    size = len(resizing.rows), len(resizing.columns)
    scores = _empty(weights, (weights.shape[1], *size))
    wide = mask_logits @ resizing.columns.T  # [Q, h, W]
    strip = STRIP if wide.device.type == "cpu" else STRIP_ON_GPU
    for tile in tiles(resizing, max(1, strip // size[1]), size[1]):
        probs = (tile.rows @ wide[:, tile.source[0]]).sigmoid_()  # [Q, y, W]
        scores[:, tile.target[0]] = (weights.T @ probs.flatten(1)).unflatten(1, probs.shape[1:])
    return scores


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
        for part in tiles(resizing, tile):
            window = mask_probs[:, part.source[0], part.source[1]]
            rivals = Rivals.among(class_probs, Range(*window.flatten(1).aminmax(dim=1)))
            if len(rivals.classes) == 1:
                labels[part.target] = rivals.classes[0]
                continue
            scores = rivals.scores(window[rivals.queries])
            if is_resized:
                scores = part.rows @ scores @ part.columns.T
            labels[part.target] = rivals.classes[scores.max(0).indices]
    return labels


class _Semantic:
    """The class of the highest score, a sum of masks weighted by class probability."""

    def __init__(self, class_probs: Tensor, size: tuple[int, int]) -> None:
        self.weights = class_probs[:, :-1]  # [Q, K]
        self.labels = torch.empty(size, dtype=torch.int64, device=class_probs.device)
        self._rivals: Rivals

    def wanted(self, tile: Tile, bounds: Range) -> Tensor:
        self._rivals = Rivals.among(self.weights, bounds)
        return flags(bounds, self._rivals.queries)

    def paint(self, tile: Tile, bounds: Range, probs: Tensor, place: Tensor) -> None:
        rivals = self._rivals
        if len(rivals.classes) == 1:
            self.labels[tile.target] = rivals.classes[0]
            return
        scores = rivals.scores(probs[place[rivals.queries]])
        self.labels[tile.target] = rivals.classes[scores.max(0).indices]


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
            return flags(bounds, self.queries)
        low, high = bounds.low[self.queries], bounds.high[self.queries]
        least = (self.scores * low).max()
        self._rivals = (~(self.scores * high < least)).nonzero()[:, 0]  # so that nan is one
        self._unsure = ((low < IN_MASK) & (high >= IN_MASK)).nonzero()[:, 0]
        is_wanted = flags(bounds, self.queries[self._unsure])
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
        return flags(bounds, self.queries[self._present])

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
        masks = join_masks(self._parts, row, len(self.queries), self.size)
        return InstanceSet(masks, mask_boxes(masks), self.labels[order], scores)


def _empty(like: Tensor, size: Sequence[int]) -> Tensor:
    """Numbers to be written; on a CPU numpy asks for huge pages, of which it takes a few."""
    if like.device.type != "cpu" or like.dtype != torch.float32:
        return like.new_empty(size)
    return torch.from_numpy(np.empty(size, np.float32))
