"""Ground truth of one image, as masks with labels.

Shapes: N segments, h w image size, H W padded image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pycocotools import mask as rle_codec
from torch import Tensor
from torch.nn import functional as F

from detectron2.structures import BitMasks, PolygonMasks


@dataclass(frozen=True)
class SegmentationTarget:
    """Labelled masks; N may be 0."""

    labels: Tensor  # int64 [N], contiguous class ids
    masks: Tensor  # bool [N, H, W]

    def __post_init__(self) -> None:
        if self.masks.dim() != 3 or self.masks.shape[0] != self.labels.shape[0]:
            raise ValueError(
                f"wanted masks [N, H, W] for {self.labels.shape[0]} labels, "
                f"got {tuple(self.masks.shape)}"
            )

    @classmethod
    def from_instances(cls, instances: Any, padded_size: tuple[int, int]) -> SegmentationTarget:
        """Reads Detectron2 ``Instances`` and pads the masks with background to `padded_size`.

        Args:
            instances: Has ``gt_classes`` [N] and ``gt_masks``: ``PolygonMasks``, ``BitMasks``, a
                tensor [N, h, w] or a list of COCO's run-length dicts. None need no ``gt_masks``.
            padded_size: (H, W) of the padded batch.

        Raises:
            ValueError: There are no masks, or they are larger than `padded_size`.
            TypeError: They are something else.
        """
        masks = _masks_of(instances).to(instances.gt_classes.device)
        return cls(instances.gt_classes, _padded(masks, padded_size))

    @classmethod
    def from_label_map(
        cls, label_map: Tensor, padded_size: tuple[int, int], void: int
    ) -> SegmentationTarget:
        """Reads Detectron2's ``sem_seg`` [h, w]: a mask for each label in it but `void`.

        Raises:
            ValueError: It is larger than `padded_size`.
        """
        labels = labels_in(label_map, void)
        return cls(labels, _padded(label_map == labels[:, None, None], padded_size))

    def relabel(self, new_label: Tensor) -> SegmentationTarget:
        """The segments under other labels: those whose `new_label` [K], by label, is not -1."""
        labels = new_label.to(self.labels.device)[self.labels]
        return SegmentationTarget(labels[labels >= 0], self.masks[labels >= 0])

    def label_map(self, void: int) -> Tensor:
        """Label of every pixel, int64 [H, W]: the last mask's there, else `void`."""
        labels = self.labels.new_full(self.masks.shape[-2:], void)
        for label, mask in zip(self.labels, self.masks):
            labels[mask] = label
        return labels


def labels_in(label_map: Tensor, void: int) -> Tensor:
    """The labels int64 [N] in a map [h, w], in their order, without `void`."""
    labels = label_map.unique().long()
    return labels[labels != void]


def _masks_of(instances: Any) -> Tensor:
    """What ``gt_masks`` shows, [N, h, w]."""
    height, width = instances.image_size
    if not len(instances.gt_classes):  # Detectron2's mapper gives no gt_masks then
        return torch.zeros(0, height, width, dtype=torch.bool)
    if not instances.has("gt_masks"):
        raise ValueError(
            f"instances have no gt_masks, only {', '.join(sorted(instances.get_fields()))}: "
            "Detectron2's DatasetMapper keeps masks where MODEL.MASK_ON is True and the records "
            "have segmentations"
        )
    masks = instances.gt_masks
    if isinstance(masks, PolygonMasks):
        masks = BitMasks.from_polygon_masks(masks, height, width)
    elif isinstance(masks, list) and all(isinstance(mask, dict) for mask in masks):
        masks = torch.stack([_decoded(code) for code in masks])
    masks = getattr(masks, "tensor", masks)
    if not isinstance(masks, Tensor):
        raise TypeError(
            "gt_masks must be PolygonMasks, BitMasks, a tensor [N, h, w] or a list of COCO's "
            f"run-length dicts, got {type(masks).__name__}"
        )
    return masks


def _decoded(code: dict[str, Any]) -> Tensor:
    """The mask [h, w] of COCO's runs, whether they are a list or a text."""
    if isinstance(code["counts"], list):
        code = rle_codec.frPyObjects(code, *code["size"])
    return torch.from_numpy(rle_codec.decode(code))


def _padded(masks: Tensor, padded_size: tuple[int, int]) -> Tensor:
    """Masks [N, h, w] as bool [N, H, W], with background to the right and below."""
    height, width = masks.shape[-2:]
    right, bottom = padded_size[1] - width, padded_size[0] - height
    if min(right, bottom) < 0:
        raise ValueError(
            f"masks of {height}x{width} (height x width) are larger than the padded image, "
            f"{padded_size[0]}x{padded_size[1]}: they must have the image's size"
        )
    return F.pad(masks.bool(), (0, right, 0, bottom))
