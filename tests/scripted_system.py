"""A system that answers prompts as a function says, and truth to point at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle_codec
from torch import Tensor

from detectron2.structures import BitMasks, Instances
from freeseg.inference import PhotoInput
from freeseg.ops import mask_boxes
from freeseg.structures import (
    ImageFeatures,
    InstanceSet,
    Prompt,
    Request,
    SegmentationResult,
    Takes,
    Task,
)
from freeseg.systems import SegmentationSystem


@dataclass(frozen=True, eq=False)
class Pixels(ImageFeatures):
    """The images themselves."""

    images: Tensor  # [B, 3, H, W]


class ScriptedSystem(SegmentationSystem[Pixels]):
    """Keeps what it was asked in `prompts`, and counts photos that it has encoded."""

    def __init__(
        self,
        reply: Callable[[Prompt], InstanceSet],
        needs: Sequence[str] = ("points", "boxes", "everything"),
        may: Sequence[str] = ("logits",),
    ) -> None:
        super().__init__(photo_input=PhotoInput(), tasks=(Task.OBJECT,))
        self.answers = {Task.OBJECT: Takes(frozenset(needs), frozenset(may))}
        self.reply = reply
        self.prompts: list[Prompt] = []
        self.num_encoded = 0

    def encode(self, prepared):
        self.num_encoded += len(prepared.frames)
        return Pixels(prepared.frames, prepared.pixels)

    def answer(self, features: Pixels, requests: Sequence[Request]) -> list[SegmentationResult]:
        self.prompts += [request.prompt for request in requests]
        return [SegmentationResult(objects=self.reply(request.prompt)) for request in requests]


def answers(masks: Sequence[Tensor], scores: Sequence[float] = (), **more: Any) -> InstanceSet:
    """One result for each mask bool [H, W], the answer about the object of its number."""
    stacked = torch.stack(list(masks))
    count = len(stacked)
    numbers = torch.arange(count)
    return InstanceSet(
        stacked,
        mask_boxes(stacked),
        None,
        torch.tensor(scores) if len(scores) else torch.ones(count),
        **{"owners": numbers, "choices": torch.zeros_like(numbers), **more},
    )


def region(
    size: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
    pixels: int | None = None,
) -> Tensor:
    """A rectangle, bool [H, W]; of its pixels in reading order the first ones alone if asked."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[rows[0] : rows[1], columns[0] : columns[1]] = True
    if pixels is not None:
        order = mask.flatten().nonzero()[pixels:, 0]
        mask.view(-1)[order] = False
    return mask


def shown(masks: Sequence[Tensor], labels: Sequence[int] = (), **more: Any) -> dict[str, Any]:
    """A test input with truth, as the test loader gives it."""
    size = tuple(masks[0].shape)
    instances = Instances(size)
    instances.gt_masks = BitMasks(torch.stack(list(masks)))
    instances.gt_classes = torch.tensor(labels or [0] * len(masks))
    height, width = size
    photo = {"image": torch.zeros(3, height, width), "height": height, "width": width}
    return {**photo, "file_name": "photo.png", "image_id": 1, "instances": instances, **more}


def code(mask: Tensor) -> dict[str, Any]:
    """COCO's run-length code of a mask bool [H, W]."""
    runs = rle_codec.encode(np.asfortranarray(mask.numpy(), dtype=np.uint8))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}
