"""What systems of classified masks have in common: parts, targets, results and the certainty.

Shapes: B images, Q queries, K classes, h w mask size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.modeling import Backbone, build_backbone, build_sem_seg_head
from freeseg.classes import closed_vocabulary
from freeseg.config import assembly_arguments, default_tasks, system_section
from freeseg.inference import MaskAnswers, PhotoInput, Thresholds, photo_certainty
from freeseg.names import with_own_names
from freeseg.structures import (
    JUDGED_TASKS,
    MaskPrediction,
    PyramidFeatures,
    Request,
    SegmentationResult,
    Takes,
    Task,
    Vocabulary,
)
from freeseg.systems.system import PyramidSystem


class MaskSystem(PyramidSystem):
    """A backbone, a head of queries, a criterion of sets of masks."""

    vocabulary: Vocabulary
    answers: Mapping[Task, Takes] = {task: Takes() for task in JUDGED_TASKS}

    def __init__(
        self,
        *,
        backbone: Backbone,
        sem_seg_head: Any,
        criterion: nn.Module,
        vocabulary: Vocabulary,
        thresholds: Thresholds,
        tasks: Sequence[str],
        photo_input: PhotoInput,
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together.

        Args:
            backbone: Detectron2 backbone.
            sem_seg_head: Its ``encode_image`` takes maps, padded size and image sizes.
            criterion: Of the head's predictions and targets.
            vocabulary: The classes it was trained on.
            thresholds: Of the post-processing.
            tasks: Answered when an input names none.
            photo_input: How photos become images, and images a batch.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__(photo_input=photo_input, tasks=tasks, ignore_label=ignore_label)
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.criterion = criterion
        self.vocabulary = vocabulary
        self.thresholds = thresholds

    def certainty(self, class_logits: Tensor, mask_logits: Tensor) -> float:
        """How far the model knows what it sees in an image, in [0, 1].

        Args:
            class_logits: [Q, K+1], of the classes that it was trained on.
            mask_logits: [Q, h, w], without padding.
        """
        return photo_certainty(class_logits, mask_logits)


class ClosedMaskSystem(MaskSystem):
    """A system of masks that predicts the classes it was trained on, and no others."""

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        sem_seg_head: nn.Module,
        criterion: nn.Module,
        vocabulary: Vocabulary,
        thresholds: Thresholds,
        tasks: Sequence[str],
        resize_masks_first: bool,
        photo_input: PhotoInput,
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together; see `MaskSystem`.

        Args:
            backbone: Detectron2 backbone.
            sem_seg_head: Of queries; gives a `MaskPrediction`.
            criterion: Of predictions and targets.
            vocabulary: The classes it predicts.
            thresholds: Of the post-processing.
            tasks: Answered when an input names none.
            resize_masks_first: See `MaskAnswers`.
            photo_input: How photos become images, and images a batch.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__(
            backbone=backbone,
            sem_seg_head=sem_seg_head,
            criterion=criterion,
            vocabulary=vocabulary,
            thresholds=thresholds,
            tasks=tasks,
            photo_input=photo_input,
            ignore_label=ignore_label,
        )
        self.assemble = MaskAnswers(thresholds, resize_masks_first)

    def result(
        self,
        tasks: Sequence[Task],
        request: Request,
        prediction: MaskPrediction,
        row: int,
        features: PyramidFeatures,
    ) -> SegmentationResult:
        """Some tasks of a request, read from one row of a prediction."""
        frame = features.frames[request.index]
        class_logits, mask_logits = prediction.class_logits[row], prediction.mask_logits[row]
        result = self.assemble(
            tasks,
            class_logits,
            mask_logits,
            frame,
            self.vocabulary,
            wants_labels=request.wants.labels,
        )
        certainty = None
        if request.wants.certainty:
            certainty = self.certainty(class_logits, frame.without_padding(mask_logits))
        return replace(result, vocabulary=self.vocabulary, certainty=certainty)


def mask_system_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Constructor arguments of a `ClosedMaskSystem` but for its criterion."""
    cfg = with_own_names(cfg)
    backbone = build_backbone(cfg)
    assembly = assembly_arguments(cfg)
    resize_masks_first = assembly.pop("resize_masks_first")
    divisor, own_divisor = system_section(cfg).SIZE_DIVISIBILITY, backbone.size_divisibility
    return {
        "backbone": backbone,
        "sem_seg_head": build_sem_seg_head(cfg, backbone.output_shape()),
        "vocabulary": closed_vocabulary(cfg),
        "thresholds": Thresholds(**assembly),
        "tasks": default_tasks(cfg),
        "resize_masks_first": resize_masks_first,
        "photo_input": PhotoInput.from_config(cfg, divisor if divisor >= 0 else own_divisor),
        "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
    }
