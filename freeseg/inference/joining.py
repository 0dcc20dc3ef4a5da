"""Joins the results of overlapping tiles, one tile after the other, on the CPU.

Shapes: K classes, N instances, h w tile size, H W size of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from detectron2.structures import Boxes, Instances
from freeseg.ops import mask_boxes

SAME = 0.5  # least share of the smaller of two parts of one thing, where both tiles look

Place = tuple[slice, slice]  # rows and columns of a tile in the whole
Corner = tuple[int, int]  # first row and column of a tile that no earlier tile decides


class JoinedLabels:
    """Class maps of tiles: of every pixel the class that its own tile gives it."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._labels = torch.zeros(size, dtype=torch.int64)

    def add(self, scores: Tensor, place: Place, own: Corner) -> None:
        """Takes a tile's scores [K, h, w], or its class map [h, w]."""
        labels = (scores if scores.dim() == 2 else scores.argmax(0)).cpu().long()
        self._labels[place][own[0] :, own[1] :] = labels[own[0] :, own[1] :]

    def result(self) -> Tensor:
        """Class of every pixel, int64 [H, W]."""
        return self._labels


class JoinedCertainty:
    """How sure a model is of tiles: the mean over the pixels that each decides."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._certainty = torch.zeros(size)

    def add(self, certainty: float, place: Place, own: Corner) -> None:
        """Takes a tile's."""
        self._certainty[place][own[0] :, own[1] :] = certainty

    def result(self) -> float:
        """Of the whole."""
        return float(self._certainty.mean())


@dataclass
class Thing:
    """Parts that tiles have of one thing; no tile has two, for it would have told them apart."""

    label: int
    score: float | None
    tiles: set[int] = field(default_factory=set)

    def absorb(self, score: float | None, tiles: set[int]) -> None:
        """Takes a further part."""
        known = [one for one in (self.score, score) if one is not None]
        self.score = max(known, default=None)
        self.tiles |= tiles


def parts_of_one(candidates: list[tuple[float, int]], things: list[Thing], tile: int) -> list[int]:
    """Which earlier things a tile's thing goes on with: the best first, one of each tile at most.

    Args:
        candidates: (agreement, index in `things`) of all that it touches.
        things: All so far.
        tile: Number of the tile.
    """
    chosen, taken = [], {tile}
    for agreement, index in sorted(candidates, reverse=True):
        if agreement >= SAME and not things[index].tiles & taken:
            chosen.append(index)
            taken |= things[index].tiles
    return chosen


class JoinedPanoptic:
    """Panoptic maps of tiles: stuff of a class is one segment, things go on where tiles agree."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._ids = torch.zeros(size, dtype=torch.int32)  # index of a segment, from 1
        self._seen = torch.zeros(size, dtype=torch.bool)
        self._segments: list[Thing] = []
        self._infos: list[dict[str, Any]] = []
        self._number_of_stuff: dict[int, int] = {}
        self._num_tiles = 0

    def add(self, output: tuple[Tensor, list[dict[str, Any]]], place: Place, own: Corner) -> None:
        """Takes a tile's map int [h, w] and its segments."""
        ids, infos = output[0].cpu(), output[1]
        seen = self._seen[place].clone()
        numbered = torch.zeros_like(self._ids[place])
        for info in infos:
            mask = ids == info["id"]
            numbered[mask] = self._number(info, mask & seen, place)
        self._ids[place][own[0] :, own[1] :] = numbered[own[0] :, own[1] :]
        self._seen[place] = True
        self._num_tiles += 1

    def _number(self, info: dict[str, Any], shared: Tensor, place: Place) -> int:
        label, is_thing = int(info["category_id"]), bool(info["isthing"])
        number = (
            self._same_thing(label, shared, place) if is_thing else self._number_of_stuff.get(label)
        )
        if number is None:
            self._segments.append(Thing(label, info.get("score")))
            self._infos.append(info)
            number = len(self._segments)
            if not is_thing:
                self._number_of_stuff[label] = number
        self._segments[number - 1].absorb(info.get("score"), {self._num_tiles})
        return number

    def _same_thing(self, label: int, shared: Tensor, place: Place) -> int | None:
        known = self._ids[place]
        seen = self._seen[place]
        candidates = [
            (agreement_of(shared, (known == number) & seen), number - 1)
            for number in known[shared].unique().tolist()
            if number and self._segments[number - 1].label == label
        ]
        chosen = parts_of_one(candidates, self._segments, self._num_tiles)
        for other in chosen[1:]:
            self._segments[chosen[0]].absorb(
                self._segments[other].score, self._segments[other].tiles
            )
            self._ids[self._ids == other + 1] = chosen[0] + 1
        return chosen[0] + 1 if chosen else None

    def result(self) -> tuple[Tensor, list[dict[str, Any]]]:
        """The map int32 [H, W], and the segments that are left in it with their areas."""
        areas = self._ids.flatten().bincount(minlength=len(self._segments) + 1).tolist()
        shown = []
        for number, (segment, info) in enumerate(zip(self._segments, self._infos), start=1):
            if areas[number]:
                shown.append({**info, "id": number, "area": areas[number]})
                if segment.score is not None:
                    shown[-1]["score"] = segment.score
        return self._ids, shown


class JoinedInstances:
    """Instances of tiles: those of a class that agree where both tiles look are one.

    Of the whole image the best `max_instances` are kept, all where it is None.
    """

    def __init__(self, size: tuple[int, int], max_instances: int | None = None) -> None:
        self._size = size
        self._max_instances = max_instances
        self._seen = torch.zeros(size, dtype=torch.bool)
        self._things: list[Thing] = []
        self._masks: list[Tensor] = []  # bool [H, W] of each
        self._num_tiles = 0

    def add(self, output: Any, place: Place, own: Corner) -> None:
        """Takes a tile's `Instances` with masks [N, h, w]; every pixel of each is kept.

        Raises:
            ValueError: They are boxes without masks, which nobody can say are parts of one.
        """
        if not output.has("pred_masks"):
            raise ValueError(
                "the photo does not fit into memory, and boxes of parts of it cannot be joined: "
                "make it smaller"
            )
        tile = output.to("cpu")
        seen = self._seen[place].clone()
        rows = zip(tile.pred_masks.bool(), tile.pred_classes.tolist(), tile.scores.tolist())
        for mask, label, score in rows:
            if mask.any():
                index = self._same(label, mask & seen, seen, place)
                if index is None:
                    index = len(self._things)
                    self._things.append(Thing(label, score))
                    self._masks.append(torch.zeros(self._size, dtype=torch.bool))
                self._masks[index][place] |= mask
                self._things[index].absorb(score, {self._num_tiles})
        self._seen[place] = True
        self._num_tiles += 1

    def _same(self, label: int, shared: Tensor, seen: Tensor, place: Place) -> int | None:
        if not shared.any():
            return None
        candidates = [
            (agreement_of(shared, self._masks[index][place] & seen), index)
            for index, thing in enumerate(self._things)
            if thing.label == label
        ]
        chosen = parts_of_one(candidates, self._things, self._num_tiles)
        for other in chosen[1:]:
            thing = self._things[other]
            self._things[chosen[0]].absorb(thing.score, thing.tiles)
            self._masks[chosen[0]] |= self._masks[other]
            self._masks[other] = torch.zeros_like(self._masks[other])
            self._things[other] = Thing(label=-1, score=0.0)  # is part of another now
        return chosen[0] if chosen else None

    def result(self) -> Instances:
        """The best instances of the whole image."""
        found = [(one.score or 0.0, i) for i, one in enumerate(self._things) if one.label >= 0]
        best = sorted(found, reverse=True)[: self._max_instances]
        masks = torch.zeros((len(best), *self._size), dtype=torch.bool)
        for row, (_, index) in zip(masks, best):
            row[:] = self._masks[index]
        return Instances(
            self._size,
            pred_masks=masks,
            pred_boxes=Boxes(mask_boxes(masks)),
            scores=torch.tensor([score for score, _ in best]),
            pred_classes=torch.tensor([self._things[i].label for _, i in best]).long(),
        )


def agreement_of(first: Tensor, second: Tensor) -> float:
    """Share of the smaller of two masks that the other covers, 0 when one is empty."""
    smaller = min(int(first.sum()), int(second.sum()))
    return int((first & second).sum()) / smaller if smaller else 0.0
