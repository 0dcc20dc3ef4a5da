"""Mask2Former (Cheng et al., CVPR 2022, arXiv 2112.01527): one architecture for three tasks.

Shapes: B images, Q queries, K classes, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_sem_seg_head
from freeseg.classes import closed_vocabulary
from freeseg.config import assembly_arguments, criterion_arguments, default_tasks, system_node
from freeseg.inference import (
    Resizing,
    Thresholds,
    assemble_in_tiles,
    best_labels,
    crop_and_resize,
    groups_by_padded_size,
    photo_certainty,
    semantic_scores,
    without_padding,
)
from freeseg.meta_arch.image_system import ImageSystem
from freeseg.names import register, with_own_names
from freeseg.structures import (
    CERTAINTY_KEY,
    LABEL_MAP_KEY,
    ImageFeatures,
    MaskPrediction,
    SegmentationResult,
    Vocabulary,
)
from freeseg.training import SetCriterion


@register(META_ARCH_REGISTRY)
class Mask2Former(ImageSystem):
    """Backbone, pixel decoder, masked query decoder, closed set of classes."""

    @configurable
    def __init__(
        self,
        *,
        criterion: nn.Module,
        vocabulary: Vocabulary,
        thresholds: Thresholds,
        tasks: Sequence[str],
        resize_masks_first: bool,
        **parts: Any,
    ) -> None:
        """Puts the parts together.

        Args:
            criterion: `SetCriterion`.
            vocabulary: The classes it predicts.
            thresholds: Of the post-processing.
            tasks: Answered when an input names none.
            resize_masks_first: Resize masks to the output size before pixels are scored; False
                scores at input size and resizes scores, for semantic output of large pictures.
            **parts: Arguments of `ImageSystem`; the head is a `MaskFormerHead`.
        """
        super().__init__(**parts)
        self.criterion = criterion
        self.vocabulary = vocabulary
        self.thresholds = thresholds
        self.tasks = tuple(tasks)
        self.resize_masks_first = resize_masks_first

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = with_own_names(cfg)
        backbone = build_backbone(cfg)
        assembly = assembly_arguments(cfg)
        return {
            "backbone": backbone,
            "sem_seg_head": build_sem_seg_head(cfg, backbone.output_shape()),
            "criterion": SetCriterion(**criterion_arguments(cfg)),
            "vocabulary": closed_vocabulary(cfg),
            "resize_masks_first": assembly.pop("resize_masks_first"),
            "thresholds": Thresholds(**assembly),
            "tasks": default_tasks(cfg),
            "size_divisibility": system_node(cfg).SIZE_DIVISIBILITY,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        }

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Detectron2's contract: losses when training, else one result dict per image.

        Args:
            batched_inputs: Each has ``image`` [3, H, W], 0..255; for training ``instances`` with
                ``gt_classes`` and ``gt_masks``, or ``sem_seg``; for inference optionally
                ``height`` and ``width`` of the output, ``tasks``, a selection of "semantic",
                "instance", "panoptic", ``label_map`` and ``certainty``.

        Returns:
            {name: loss}, or a list of dicts with ``sem_seg`` [K, H, W], or with ``label_map`` the
            labels int64 [H, W], which take little memory, ``instances`` and ``panoptic_seg``
            (map int32 [H, W], segments); with ``certainty`` that, in [0, 1].
        """
        if self.training:
            features = self.encode_image([x["image"] for x in batched_inputs])
            return self.losses(features, batched_inputs)
        # An image must not feel the padding that a larger one beside it would ask for.
        sizes = [tuple(x["image"].shape[-2:]) for x in batched_inputs]
        results: dict[int, dict[str, Any]] = {}
        for group in groups_by_padded_size(sizes, self.size_divisibility):
            inputs = [batched_inputs[index] for index in group]
            outputs = [result.to_detectron2() for result in self.segment(inputs)]
            results.update(zip(group, outputs))
        return [results[index] for index in range(len(batched_inputs))]

    def losses(
        self, features: ImageFeatures, batched_inputs: Sequence[dict[str, Any]]
    ) -> dict[str, Tensor]:
        """Weighted losses of annotated images by name."""
        return self.criterion(self.sem_seg_head(features), self.targets(batched_inputs, features))

    def target_counts(self, batched_inputs: Sequence[dict[str, Any]]) -> list[int]:
        """How many targets every annotated image has, without looking at it."""
        return [len(self.target_labels(x)) for x in batched_inputs]

    def segment(self, batched_inputs: Sequence[dict[str, Any]]) -> list[SegmentationResult]:
        """Results of images that are padded to one size."""
        features = self.encode_image([x["image"] for x in batched_inputs])
        prediction = self.sem_seg_head.final(features)
        return [
            self.postprocess(prediction, index, features, index, x)
            for index, x in enumerate(batched_inputs)
        ]

    def certainty(
        self, class_logits: Tensor, mask_logits: Tensor, features: ImageFeatures, index: int
    ) -> float:
        """How far the model knows what it sees in image `index`, in [0, 1].

        Args:
            class_logits: [Q, K+1], of the classes that it was trained on.
            mask_logits: [Q, h, w].
            features: Of the images.
            index: Of the image among them.
        """
        return photo_certainty(class_logits, without_padding(mask_logits, features, index))

    def postprocess(
        self,
        prediction: MaskPrediction,
        row: int,
        features: ImageFeatures,
        index: int,
        wanted: dict[str, Any],
    ) -> SegmentationResult:
        """The result of image `index` at the size and for the tasks its input asks for.

        Args:
            prediction: Of several images.
            row: Where the image's is.
            features: Of the images.
            index: Of the image among them.
            wanted: What is asked of it.
        """
        image_size = features.image_sizes[index]
        output_size = wanted.get("height", image_size[0]), wanted.get("width", image_size[1])
        tasks = wanted.get("tasks", self.tasks)
        class_logits = prediction.class_logits[row].float()
        mask_logits = prediction.mask_logits[row].float()
        padded_size = features.padded_size
        wants_scores = not wanted.get(LABEL_MAP_KEY)
        certainty = None
        if wanted.get(CERTAINTY_KEY):
            certainty = self.certainty(class_logits, mask_logits, features, index)
        if self.resize_masks_first or tuple(tasks) != ("semantic",):
            mask_size = mask_logits.shape[-2], mask_logits.shape[-1]
            result = assemble_in_tiles(
                tasks,
                class_logits,
                mask_logits,
                Resizing.of(mask_size, padded_size, image_size, output_size),
                self.vocabulary,
                self.thresholds,
                wants_scores=wants_scores,
            )
            return replace(result, certainty=certainty)
        mask_logits = F.interpolate(
            mask_logits[None], size=padded_size, mode="bilinear", align_corners=False
        )[0]
        class_probs, mask_probs = class_logits.softmax(-1), mask_logits.sigmoid()
        if wants_scores:
            scores = semantic_scores(class_probs, mask_probs)
            semantic = crop_and_resize(scores, image_size, output_size)
        else:
            resizing = Resizing.of(padded_size, padded_size, image_size, output_size)
            semantic = best_labels(class_probs[:, :-1], mask_probs, resizing)
        return SegmentationResult(semantic=semantic, certainty=certainty)


@register(META_ARCH_REGISTRY)
class MaskFormer(Mask2Former):
    """`Mask2Former` under the name that the published configurations use."""
