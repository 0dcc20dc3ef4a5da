"""What every system does with images before anything else: normalise, pad and encode them once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.modeling import Backbone
from detectron2.structures import ImageList
from freeseg.structures import TASKS, ImageFeatures, SegmentationTarget, labels_in


class ImageSystem(nn.Module):
    """A backbone and a head whose ``encode_image`` reads its maps."""

    pixel_mean: Tensor
    pixel_std: Tensor

    takes_vocabulary = False  # whether an input may name other classes than the trained ones
    answered_tasks: tuple[str, ...] = TASKS  # what an input may ask for

    def __init__(
        self,
        *,
        backbone: Backbone,
        sem_seg_head: Any,
        size_divisibility: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together.

        Args:
            backbone: Detectron2 backbone.
            sem_seg_head: Its ``encode_image`` takes maps, padded size and image sizes.
            size_divisibility: Batches are padded to a multiple; negative: the backbone's.
            pixel_mean: Per channel, 0..255.
            pixel_std: Per channel.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__()
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.size_divisibility = (
            size_divisibility if size_divisibility >= 0 else backbone.size_divisibility
        )
        self.ignore_label = ignore_label
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    def encode_image(self, images: Sequence[Tensor]) -> ImageFeatures:
        """Normalises, pads and encodes images [3, H, W] once; decode them as often as needed."""
        normalised = [
            (image.to(self.device) - self.pixel_mean) / self.pixel_std for image in images
        ]
        batch = ImageList.from_tensors(normalised, self.size_divisibility)
        return self.sem_seg_head.encode_image(
            self.backbone(batch.tensor),
            padded_size=tuple(batch.tensor.shape[-2:]),
            image_sizes=[(int(height), int(width)) for height, width in batch.image_sizes],
        )

    def targets(
        self, batched_inputs: Sequence[dict[str, Any]], features: ImageFeatures
    ) -> list[SegmentationTarget]:
        """Ground truth of annotated images at the padded size: ``instances``, else ``sem_seg``.

        Raises:
            ValueError: An input has neither, or its instances have no masks.
            TypeError: Its masks are of an unknown kind.
        """
        return [self._target(x, features.padded_size) for x in batched_inputs]

    def target_labels(self, annotated: Mapping[str, Any]) -> Tensor:
        """Labels int64 [N] of an input's targets."""
        if "instances" in annotated:
            return annotated["instances"].gt_classes
        return labels_in(_label_map(annotated), self.ignore_label)

    def _target(
        self, annotated: Mapping[str, Any], padded_size: tuple[int, int]
    ) -> SegmentationTarget:
        if "instances" in annotated:
            instances = annotated["instances"].to(self.device)
            return SegmentationTarget.from_instances(instances, padded_size)
        label_map = _label_map(annotated).to(self.device)
        return SegmentationTarget.from_label_map(label_map, padded_size, self.ignore_label)


def _label_map(annotated: Mapping[str, Any]) -> Tensor:
    if "sem_seg" not in annotated:
        raise ValueError(
            f"training needs inputs with instances or sem_seg, got {', '.join(sorted(annotated))}: "
            "has the record annotation, and was its mapper built for training?"
        )
    label_map: Tensor = annotated["sem_seg"]
    return label_map
