"""FreeSeg (Qin et al., CVPR 2023, arXiv 2303.17225): any task, any class list, one network.

Shapes: B images, R questions, Q queries, K classes, T texts of them, D width of text features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from freeseg.config import completed, cosine_factor, criterion_arguments
from freeseg.inference import (
    PhotoInput,
    Resizing,
    Thresholds,
    assemble_by_class_map,
    best_labels,
    resize_result,
    upsample,
)
from freeseg.modeling import class_logits
from freeseg.names import register
from freeseg.structures import (
    JUDGED_TASKS,
    EmbeddedMasks,
    Frame,
    MaskPrediction,
    PyramidFeatures,
    Request,
    Sample,
    SegmentationResult,
    SemanticMap,
    Takes,
    Task,
    Vocabulary,
)
from freeseg.systems.freeseg.config import crop_arguments, tuning_arguments
from freeseg.systems.freeseg.crops import MaskCrops
from freeseg.systems.freeseg.dense_criterion import DenseCriterion
from freeseg.systems.freeseg.ensemble import ProposalEnsemble, binary_masks
from freeseg.systems.freeseg.questions import Question, group_questions, task_of
from freeseg.systems.freeseg.text_side import build_clip_adapter
from freeseg.systems.freeseg.tuning import PromptTuner, TuningSettings
from freeseg.systems.freeseg.weights import RELEASE
from freeseg.systems.mask_system import MaskSystem, mask_system_arguments
from freeseg.systems.system import PreparedImages
from freeseg.text import ClipAdapter, TextEncoder
from freeseg.training import SetCriterion


@register(META_ARCH_REGISTRY)
class FreeSeg(MaskSystem):
    """Mask proposals classified against the texts of classes under a task."""

    answers: Mapping[Task, Takes] = {
        task: Takes(may=frozenset({"classes"})) for task in JUDGED_TASKS
    }

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
        photo_input: PhotoInput,
        clip_adapter: ClipAdapter,
        ensemble: ProposalEnsemble | None,
        tuner: PromptTuner | None,
        logit_scale: float,
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together.

        Args:
            backbone: Detectron2 backbone.
            sem_seg_head: A `MaskFormerInteractionHead`: also takes the texts.
            criterion: Of masks whose classes are the texts of a step.
            vocabulary: The classes of training.
            thresholds: Of the post-processing.
            tasks: Answered when an input names none.
            photo_input: How photos become images, and images a batch.
            clip_adapter: Texts, and the image tower for crops.
            ensemble: Asks the image tower about every proposal; None does without.
            tuner: Adapts the class tokens to test images; None leaves them as they are.
            logit_scale: Factor of the cosines of queries and texts, a constant.
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
        self.clip_adapter = clip_adapter
        self.ensemble = ensemble
        self.tuner = tuner
        self.logit_scale = logit_scale
        self._register_load_state_dict_pre_hook(_forget_extras)

    @classmethod
    def from_config(cls, cfg: CfgNode, clip_model: TextEncoder | None = None) -> dict[str, Any]:
        cfg = completed(cfg)
        build_criterion = DenseCriterion if cfg.MODEL.FREESEG.DENSE_LOSS else SetCriterion
        trunk = mask_system_arguments(cfg)
        del trunk["resize_masks_first"]  # class maps have one way alone
        return {
            **trunk,
            "thresholds": replace(
                trunk["thresholds"],
                min_score=cfg.MODEL.FREESEG.MIN_SCORE,
                min_probability=cfg.MODEL.FREESEG.MIN_PROBABILITY,
            ),
            "criterion": build_criterion(**{**criterion_arguments(cfg), "num_classes": None}),
            "clip_adapter": build_clip_adapter(cfg, clip_model),
            "ensemble": _build_ensemble(cfg),
            "tuner": _build_tuner(cfg),
            "logit_scale": cosine_factor(cfg, "FREESEG"),
        }

    def encode(self, prepared: PreparedImages) -> PyramidFeatures:
        """Backbone and pixel decoder; the pixels stay where crops of them are looked at."""
        features = super().encode(prepared)
        if self.ensemble is None:
            return features
        height, width = features.padded_size
        pixels = [
            F.pad(image.to(self.device), (0, width - image.shape[-1], 0, height - image.shape[-2]))
            for image in prepared.images
        ]
        return replace(features, pixels=torch.stack(pixels))

    def answer(
        self, features: PyramidFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images; each may have its own class list."""
        return self.answer_tuned(features, requests, self.tuner)

    def answer_tuned(
        self, features: PyramidFeatures, requests: Sequence[Request], tuner: PromptTuner | None
    ) -> list[SegmentationResult]:
        """The same with class tokens that another tuner adapts; None leaves them as they are."""
        results = [
            SegmentationResult(vocabulary=request.vocabulary(self.vocabulary))
            for request in requests
        ]
        for group in group_questions(requests, self.vocabulary):
            text = torch.stack([self.text(one.vocabulary, one.task) for one in group])
            images = [requests[one.number].index for one in group]
            masks = self.decode(features, images, text)
            if tuner is not None:
                text = self.tune(tuner, group, text, masks)
                masks = self.decode(features, images, text)
            for row, one in enumerate(group):
                found = self._result(one, requests[one.number], masks, row, text[row], features)
                results[one.number] = results[one.number].joined(found)
        return results

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Losses of one step: the classes that may be seen, under the batch's one task."""
        task = task_of(samples)
        features = self.encode_samples(samples)
        classes = self.vocabulary.seen_classes()
        new_label = torch.full((len(self.vocabulary),), -1, device=self.device)
        new_label[classes] = torch.arange(len(classes), device=self.device)
        targets = [target.relabel(new_label) for target in self.targets(samples, features)]
        vocabulary = self.vocabulary.select(classes)
        text = self.text(vocabulary, task)  # [T+1, D]
        layers = self.sem_seg_head(features, text.expand(features.batch_size, -1, -1))
        predictions = [
            MaskPrediction(self.classify(vocabulary, layer.embeddings, text), layer.mask_logits)
            for layer in layers
        ]
        return self.criterion(predictions, targets)

    def count_targets(self, sample: Sample) -> int:
        """How many targets of classes that may be seen an image has."""
        seen = torch.zeros(len(self.vocabulary), dtype=torch.bool)
        seen[self.vocabulary.seen_classes()] = True
        return int(seen[sample.labels().cpu()].sum())

    def text(self, vocabulary: Vocabulary, task: str) -> Tensor:
        """Features [T+1, D] of the classes' texts under a task, "no object" last."""
        return self.clip_adapter.with_void(self.clip_adapter.class_features(vocabulary.texts, task))

    def classify(self, vocabulary: Vocabulary, embeddings: Tensor, text: Tensor) -> Tensor:
        """Logits [..., Q, K+1] of queries' embeddings [..., Q, D] against texts [T+1, D]."""
        return class_logits(vocabulary, embeddings, text, self.logit_scale)

    def decode(self, features: PyramidFeatures, rows: Sequence[int], text: Tensor) -> EmbeddedMasks:
        """Final masks of images under R texts [R, T+1, D]; a single image is normalised once."""
        wanted = rows[:1] if len(set(rows)) == 1 else rows
        return self.sem_seg_head.final(features.select(wanted), text)

    def tune(
        self, tuner: PromptTuner, questions: Sequence[Question], text: Tensor, masks: EmbeddedMasks
    ) -> Tensor:
        """Texts [R, T+1, D] of prompts that were adapted to what every image proposes."""
        adapted = []
        for one, old, embeddings in zip(questions, text, masks.embeddings):
            is_object = self.classify(one.vocabulary, embeddings, old).argmax(-1) < len(
                one.vocabulary
            )
            proposals = embeddings[is_object]
            features = tuner(
                self.clip_adapter, one.vocabulary, one.task, proposals, self.logit_scale
            )
            adapted.append(self.clip_adapter.with_void(features))
        return torch.stack(adapted)

    def _result(
        self,
        question: Question,
        request: Request,
        masks: EmbeddedMasks,
        row: int,
        text: Tensor,
        features: PyramidFeatures,
    ) -> SegmentationResult:
        """The result of one question, and how far the model knows the image."""
        frame, mask_logits = features.frames[request.index], masks.mask_logits[row]
        logits = self.classify(question.vocabulary, masks.embeddings[row], text)  # [Q, K+1]
        class_probs = logits.float().softmax(-1)[:, :-1]
        if self.ensemble is not None:
            assert features.pixels is not None
            class_probs = self.ensemble(
                self.clip_adapter.clip_model,
                frame.without_padding(features.pixels[request.index]),
                binary_masks(mask_logits, frame, self.ensemble.crops.min_probability),
                class_probs,
                text[:-1],
                question.vocabulary,
            )
        result = self.assemble(
            question, class_probs, mask_logits, frame, wants_labels=request.wants.labels
        )
        if not request.wants.certainty:
            return result
        own = self.text(self.vocabulary, question.task)  # whatever was asked for
        logits = self.classify(self.vocabulary, masks.embeddings[row], own)
        certainty = self.certainty(logits, frame.without_padding(mask_logits))
        return replace(result, certainty=certainty)

    def assemble(
        self,
        question: Question,
        class_probs: Tensor,
        mask_logits: Tensor,
        frame: Frame,
        *,
        wants_labels: bool,
    ) -> SegmentationResult:
        """The result of one question on its photo's grid.

        Args:
            question: Task and class list.
            class_probs: [Q, K], without "no object".
            mask_logits: [Q, h, w].
            frame: How they lie in the photo.
            wants_labels: What is semantic are labels; else scores.
        """
        size = frame.model_size
        if question.task == Task.SEMANTIC and wants_labels:
            mask_probs = upsample(mask_logits, frame, size).sigmoid_()  # [Q, H, W]
            resizing = Resizing.of(size, size, size, frame.photo_size)
            labels = best_labels(class_probs, mask_probs, resizing)
            return SegmentationResult(semantic=SemanticMap(labels=labels))
        mask_size = mask_logits.shape[-2], mask_logits.shape[-1]
        resizing = Resizing.of(
            mask_size,
            frame.padded_size,
            size,
            size,
            align_corners=True,  # as `upsample` does
        )
        result = assemble_by_class_map(
            question.task, class_probs, mask_logits, resizing, question.vocabulary, self.thresholds
        )
        return resize_result(result, frame.photo_size)


@register(META_ARCH_REGISTRY)
class OpenVocabulary(FreeSeg):
    """`FreeSeg` under the name in the release's configurations."""


def _build_ensemble(cfg: CfgNode) -> ProposalEnsemble | None:
    node = cfg.MODEL.CLIP_ADAPTER
    if not node.CLIP_ENSEMBLE:
        return None
    return ProposalEnsemble(
        MaskCrops(**crop_arguments(cfg)),
        node.CLIP_ENSEMBLE_WEIGHT,
        cfg.MODEL.FREESEG.REGION_OBJECTNESS,
    )


def _build_tuner(cfg: CfgNode) -> PromptTuner | None:
    arguments = tuning_arguments(cfg)
    return None if arguments is None else PromptTuner(TuningSettings(**arguments))


def _forget_extras(state: dict[str, Tensor], *_: Any) -> None:
    """Lets weights of the release load as they are."""
    RELEASE.drop_from(state)
