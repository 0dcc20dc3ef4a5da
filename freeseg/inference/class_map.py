"""FreeSeg's post-processing: segments are masks cut to where the class map agrees with them.

Shapes: Q queries, K classes, P of the queries, N instances, h w mask size, H W output size,
y x tile size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.inference.assemble import IN_MASK, Thresholds, number_segments
from freeseg.inference.painting import Range, Resizing, Rivals, Tile, flags, join_masks, paint
from freeseg.inference.tiled_assembly import class_scores
from freeseg.ops import mask_areas, mask_boxes
from freeseg.structures import (
    InstanceSet,
    PanopticMap,
    SegmentationResult,
    SemanticMap,
    Vocabulary,
    read_tasks,
)

SHARPNESS = 0.01  # temperature of the class scores, in the release
MAX_COVERED = 0.8  # share of an instance that others of its class may cover


def assemble_by_class_map(
    task: str,
    class_probs: Tensor,
    mask_logits: Tensor,
    resizing: Resizing,
    vocabulary: Vocabulary,
    thresholds: Thresholds,
    tile: int = 0,
) -> SegmentationResult:
    """The result of one task.

    Args:
        task: "semantic", "instance" or "panoptic".
        class_probs: [Q, K], "no object" is already taken off; rows need not sum to 1.
        mask_logits: [Q, h, w].
        resizing: Of the masks, to the size at which the results are made.
        vocabulary: The K classes.
        thresholds: What is kept.
        tile: Pixels of a tile's side; 0 chooses.

    Raises:
        ValueError: On an unknown task.
    """
    read_tasks([task])
    is_thing = vocabulary.thing_mask(like=class_probs)
    with torch.autocast(mask_logits.device.type, enabled=False):
        class_probs, mask_logits = class_probs.float(), mask_logits.float()
        resizing = resizing.to(mask_logits)
        size = len(resizing.rows), len(resizing.columns)
        if task == "semantic":
            scores = class_scores(class_probs, mask_logits, resizing)
            return SegmentationResult(semantic=SemanticMap(scores=scores))
        if task == "panoptic":
            panoptic = _Panoptic(class_probs, is_thing, thresholds, size)
            paint([panoptic], mask_logits, resizing, tile)
            return SegmentationResult(panoptic=panoptic.result())
        instances = _Instances(class_probs, is_thing, thresholds, size)
        paint([instances], mask_logits, resizing, tile)
        return SegmentationResult(instances=instances.result())


class _OwnPixels:
    """Of masks that may be shown: their pixels, and those where their class wins the class map."""

    def __init__(
        self, class_probs: Tensor, allowed: Tensor, thresholds: Thresholds, size: tuple[int, int]
    ) -> None:
        self.class_probs, self.thresholds, self.size = class_probs, thresholds, size
        self.queries = allowed.nonzero()[:, 0]  # [P]
        self.scores, self.labels = class_probs[self.queries].max(-1)  # [P]
        self.area, self.original = self.queries.new_zeros(2, len(self.queries))
        self.parts: list[tuple[Tile, Tensor, Tensor]] = []  # a tile, some [A] of P, [A, y, x]
        self.present = self.queries
        self._rivals: Rivals

    def wanted(self, tile: Tile, bounds: Range) -> Tensor:
        self.present = (~(bounds.high[self.queries] < IN_MASK)).nonzero()[:, 0]
        if not len(self.present):
            return flags(bounds, self.present)
        self._rivals = Rivals.among(self.class_probs, bounds)
        is_wanted = flags(bounds, self._rivals.queries)
        is_wanted[self.queries[self.present]] = True
        return is_wanted

    def paint(self, tile: Tile, bounds: Range, probs: Tensor, place: Tensor) -> None:
        if not len(self.present):
            return
        winner = self._rivals.classes[0]  # everywhere, or [y, x]
        if len(self._rivals.classes) > 1:
            votes = self._rivals.scores(probs[place[self._rivals.queries]])
            winner = self._rivals.classes[votes.max(0).indices]
        masks = probs[place[self.queries[self.present]]]  # [A, y, x]
        inside = masks >= IN_MASK
        own = inside & (winner == self.labels[self.present][:, None, None])
        self.original[self.present] += mask_areas(inside)
        self.area[self.present] += mask_areas(own)
        self.keep(tile, masks, inside, own)

    def keep(self, tile: Tile, masks: Tensor, inside: Tensor, own: Tensor) -> None:
        """Takes what the result is made of from a tile's [A, y, x] of the present masks."""
        raise NotImplementedError

    def is_visible(self) -> Tensor:
        """Bool [P]: enough of the mask is its own."""
        enough = self.area >= self.thresholds.min_visible_share * self.original
        return (self.area > 0) & enough


class _Panoptic(_OwnPixels):
    """Paints the masks one over another in their order; stuff of one class is one segment.

    A mask keeps the pixels of its own class. It is dropped when these are less than
    ``min_visible_share`` of it, or when it is a thing whose label does not stand out or is less
    probable than ``min_probability``. Segments that keep less than ``min_area`` are dropped.
    """

    def __init__(
        self, class_probs: Tensor, is_thing: Tensor, thresholds: Thresholds, size: tuple[int, int]
    ) -> None:
        scores, labels = class_probs.max(-1)
        is_probable = scores >= thresholds.min_probability
        is_sure = _is_sure(class_probs, thresholds.min_score) & is_probable
        super().__init__(class_probs, ~is_thing[labels] | is_sure, thresholds, size)
        self._is_thing = is_thing

    def keep(self, tile: Tile, masks: Tensor, inside: Tensor, own: Tensor) -> None:
        self.parts.append((tile, self.present, own))

    def result(self) -> PanopticMap:
        shown = self.is_visible()
        segments, number = number_segments(
            self.labels, self.scores, self.area, shown, self._is_thing
        )
        number = F.pad(number, (1, 0))  # of nobody: 0
        segment_ids = number.new_zeros(self.size)
        order = torch.arange(1, len(number), device=number.device, dtype=torch.int16)
        for tile, present, own in self.parts:
            is_shown = shown[present]
            if is_shown.any():
                last = (own[is_shown] * order[present[is_shown]][:, None, None]).amax(0)
                segment_ids[tile.target] = number[last.long()]
        left = segment_ids.flatten().bincount(minlength=len(segments) + 1).tolist()
        painted = tuple(replace(segment, area=left[segment.id]) for segment in segments)
        return PanopticMap(segment_ids, painted).without_small(max(self.thresholds.min_area, 1))


class _Instances(_OwnPixels):
    """Whole masks of things, scored by class times mean mask probability, best first."""

    def __init__(
        self, class_probs: Tensor, is_thing: Tensor, thresholds: Thresholds, size: tuple[int, int]
    ) -> None:
        is_sure = _is_sure(class_probs, thresholds.min_score)
        super().__init__(class_probs, is_thing[class_probs.argmax(-1)] & is_sure, thresholds, size)
        self.mass = class_probs.new_zeros(len(self.queries))  # of the probabilities in the mask

    def keep(self, tile: Tile, masks: Tensor, inside: Tensor, own: Tensor) -> None:
        self.mass[self.present] += (masks * inside).flatten(1).sum(1)
        self.parts.append((tile, self.present, inside))

    def result(self) -> InstanceSet:
        kept = self.is_visible().nonzero()[:, 0]
        scores = self.scores[kept] * self.mass[kept] / self.original[kept]
        order = scores.argsort(descending=True, stable=True)
        kept, scores = kept[order], scores[order]
        labels = self.labels[kept]
        masks = join_masks(self.parts, kept, len(self.queries), self.size)
        chosen = _without_duplicates(masks, labels)[: self.thresholds.max_instances]
        masks = masks[chosen]
        return InstanceSet(masks, mask_boxes(masks), labels[chosen], scores[chosen])


def _is_sure(class_probs: Tensor, min_score: float) -> Tensor:
    """Bool [Q], whether the label stands out of the others enough for a thing."""
    return (class_probs / SHARPNESS).softmax(-1).amax(-1) >= min_score


def _without_duplicates(masks: Tensor, labels: Tensor) -> list[int]:
    """Indices of the masks that others of their class do not cover, the worst looked at first."""
    left = list(range(len(masks)))
    areas = mask_areas(masks).tolist()
    for index in reversed(range(len(masks))):
        others = [i for i in left if i != index and labels[i] == labels[index]]
        if others:
            covered = int((masks[others].any(0) & masks[index]).sum())
            if covered > MAX_COVERED * areas[index]:
                left.remove(index)
    return left
