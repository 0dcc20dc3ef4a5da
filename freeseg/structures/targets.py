"""Ground truth of one image, as masks with labels.

Shapes: N segments, H W padded image size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F


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
            instances: Has ``gt_classes`` [N] and ``gt_masks``, a ``BitMasks`` or a tensor
                [N, H', W'] as Mask2Former's own mappers give it.
            padded_size: (H, W) of the padded batch.
        """
        masks: Tensor = getattr(instances.gt_masks, "tensor", instances.gt_masks)
        height, width = masks.shape[-2:]
        padding = (0, padded_size[1] - width, 0, padded_size[0] - height)
        return cls(instances.gt_classes, F.pad(masks.bool(), padding))

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
