"""FreeSeg (Qin et al., CVPR 2023, arXiv 2303.17225): any task, any class list, one network.

Shapes: B images, R requests, Q queries, K classes, T texts of them, D width of text features,
H W image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.checkpoints import KEY_MAPS
from freeseg.config import completed, criterion_arguments, region_arguments, tuning_arguments
from freeseg.config_keys import cosine_factor
from freeseg.inference import (
    PromptTuner,
    RegionEnsemble,
    Resizing,
    TuningSettings,
    assemble_by_class_map,
    best_labels,
    binary_masks,
    resize_result,
    upsample,
)
from freeseg.meta_arch.mask2former import Mask2Former
from freeseg.meta_arch.requests import Request, group_requests, task_of
from freeseg.modeling import ClipAdapter, RegionCrops, class_logits
from freeseg.names import register
from freeseg.structures import (
    CERTAINTY_KEY,
    LABEL_MAP_KEY,
    EmbeddedMasks,
    ImageFeatures,
    MaskPrediction,
    SegmentationResult,
    Vocabulary,
)
from freeseg.text import TextEncoder
from freeseg.training import DenseCriterion, SetCriterion


@register(META_ARCH_REGISTRY)
class FreeSeg(Mask2Former):
    """Mask proposals classified against the texts of classes under a task."""

    takes_vocabulary = True
    sem_seg_head: Any  # MaskFormerInteractionHead: also takes the texts

    @configurable
    def __init__(
        self,
        *,
        clip_adapter: ClipAdapter,
        ensemble: RegionEnsemble | None,
        tuner: PromptTuner | None,
        logit_scale: float,
        **trunk: Any,
    ) -> None:
        """Puts the parts together.

        Args:
            clip_adapter: Texts, and the image tower for regions.
            ensemble: Asks the image tower about every proposal; None does without.
            tuner: Adapts the class tokens to test images; None leaves them as they are.
            logit_scale: Factor of the cosines of queries and texts, a constant.
            **trunk: Arguments of `Mask2Former`; `vocabulary` is the one of training.
        """
        super().__init__(**trunk)
        self.clip_adapter = clip_adapter
        self.ensemble = ensemble
        self.tuner = tuner
        self.logit_scale = logit_scale
        self._register_load_state_dict_pre_hook(_forget_extras)

    @classmethod
    def from_config(cls, cfg: CfgNode, clip_model: TextEncoder | None = None) -> dict[str, Any]:
        cfg = completed(cfg)
        build_criterion = DenseCriterion if cfg.MODEL.FREESEG.DENSE_LOSS else SetCriterion
        trunk = super().from_config(cfg)
        return {
            **trunk,
            "thresholds": replace(
                trunk["thresholds"],
                min_score=cfg.MODEL.FREESEG.MIN_SCORE,
                min_probability=cfg.MODEL.FREESEG.MIN_PROBABILITY,
            ),
            "criterion": build_criterion(**{**criterion_arguments(cfg), "num_classes": None}),
            "clip_adapter": ClipAdapter(cfg, clip_model=clip_model),
            "ensemble": _build_ensemble(cfg),
            "tuner": _build_tuner(cfg),
            "logit_scale": cosine_factor(cfg, "FREESEG"),
        }

    def segment(self, batched_inputs: Sequence[dict[str, Any]]) -> list[SegmentationResult]:
        """Results of images that are padded to one size, each encoded once for all its tasks.

        Args:
            batched_inputs: As `Mask2Former` takes them; each may have its own ``vocabulary``.
        """
        features = self.encode_image([x["image"] for x in batched_inputs])
        results = [SegmentationResult() for _ in batched_inputs]
        for group in group_requests(batched_inputs, self.tasks, self.vocabulary):
            texts = [self.text(one.vocabulary, one.task) for one in group]
            text = torch.stack(texts)  # [R, T+1, D]
            masks = self.decode(features, group, text)
            if self.tuner is not None:
                text = self.tune(self.tuner, group, text, masks)
                masks = self.decode(features, group, text)
            for row, request in enumerate(group):
                found = self.assemble(row, request, text, masks, features, batched_inputs)
                if batched_inputs[request.index].get(CERTAINTY_KEY):
                    certainty = self.certainty_of(row, request, masks, features)
                    found = replace(found, certainty=certainty)
                results[request.index] = results[request.index].joined(found)
        return results

    def losses(
        self, features: ImageFeatures, batched_inputs: Sequence[dict[str, Any]]
    ) -> dict[str, Tensor]:
        """Losses of one step: the classes that may be seen, under the batch's one ``task``."""
        task = task_of(batched_inputs)
        classes = self.vocabulary.seen_classes()
        new_label = torch.full((len(self.vocabulary),), -1, device=self.device)
        new_label[classes] = torch.arange(len(classes), device=self.device)
        targets = [target.relabel(new_label) for target in self.targets(batched_inputs, features)]
        vocabulary = self.vocabulary.select(classes)
        text = self.text(vocabulary, task)  # [T+1, D]
        layers = self.sem_seg_head(features, text.expand(features.batch_size, -1, -1))
        predictions = [
            MaskPrediction(self.classify(vocabulary, layer.embeddings, text), layer.mask_logits)
            for layer in layers
        ]
        return self.criterion(predictions, targets)

    def target_counts(self, batched_inputs: Sequence[dict[str, Any]]) -> list[int]:
        """How many targets of classes that may be seen every image has."""
        seen = torch.zeros(len(self.vocabulary), dtype=torch.bool)
        seen[self.vocabulary.seen_classes()] = True
        return [int(seen[self.target_labels(x).cpu()].sum()) for x in batched_inputs]

    def text(self, vocabulary: Vocabulary, task: str) -> Tensor:
        """Features [T+1, D] of the classes' texts under a task, "no object" last."""
        return self.clip_adapter.with_void(self.clip_adapter.class_features(vocabulary.texts, task))

    def classify(self, vocabulary: Vocabulary, embeddings: Tensor, text: Tensor) -> Tensor:
        """Logits [..., Q, K+1] of queries' embeddings [..., Q, D] against texts [T+1, D]."""
        return class_logits(vocabulary, embeddings, text, self.logit_scale)

    def decode(
        self, features: ImageFeatures, requests: Sequence[Request], text: Tensor
    ) -> EmbeddedMasks:
        """Final masks of R requests under their texts [R, T+1, D]; the image is encoded already."""
        images = [one.index for one in requests]
        wanted = images[:1] if len(set(images)) == 1 else images  # one image is normalised once
        return self.sem_seg_head.final(features.select(wanted), text)

    def tune(
        self, tuner: PromptTuner, requests: Sequence[Request], text: Tensor, masks: EmbeddedMasks
    ) -> Tensor:
        """Texts [R, T+1, D] of prompts that were adapted to what every image proposes."""
        adapted = []
        for one, old, embeddings in zip(requests, text, masks.embeddings):
            is_object = self.classify(one.vocabulary, embeddings, old).argmax(-1) < len(
                one.vocabulary
            )
            proposals = embeddings[is_object]
            features = tuner(
                self.clip_adapter, one.vocabulary, one.task, proposals, self.logit_scale
            )
            adapted.append(self.clip_adapter.with_void(features))
        return torch.stack(adapted)

    def assemble(
        self,
        row: int,
        request: Request,
        text: Tensor,
        masks: EmbeddedMasks,
        features: ImageFeatures,
        batched_inputs: Sequence[dict[str, Any]],
    ) -> SegmentationResult:
        """The result of one request at the size that its input asks for."""
        wanted = batched_inputs[request.index]
        height, width = features.image_sizes[request.index]
        mask_logits = masks.mask_logits[row]  # [Q, h, w]
        logits = self.classify(request.vocabulary, masks.embeddings[row], text[row])  # [Q, K+1]
        class_probs = logits.float().softmax(-1)[:, :-1]
        if self.ensemble is not None:
            threshold = self.ensemble.crops.min_probability
            class_probs = self.ensemble(
                self.clip_adapter.clip_model,
                wanted["image"].to(self.device),
                binary_masks(mask_logits, features, request.index, threshold),
                class_probs,
                text[row, :-1],
                request.vocabulary,
            )
        size = int(wanted.get("height", height)), int(wanted.get("width", width))
        if request.task == "semantic" and wanted.get(LABEL_MAP_KEY):
            mask_probs = upsample(
                mask_logits, features, request.index, (height, width)
            ).sigmoid_()  # [Q, H, W]
            resizing = Resizing.of((height, width), (height, width), (height, width), size)
            return SegmentationResult(semantic=best_labels(class_probs, mask_probs, resizing))
        mask_size = mask_logits.shape[-2], mask_logits.shape[-1]
        resizing = Resizing.of(
            mask_size,
            features.padded_size,
            (height, width),
            (height, width),
            align_corners=True,  # as `upsample` does
        )
        result = assemble_by_class_map(
            request.task, class_probs, mask_logits, resizing, request.vocabulary, self.thresholds
        )
        return resize_result(result, size)

    def certainty_of(
        self, row: int, request: Request, masks: EmbeddedMasks, features: ImageFeatures
    ) -> float:
        """How far the model knows what it sees, whatever was asked for: by its own classes."""
        text = self.text(self.vocabulary, request.task)
        logits = self.classify(self.vocabulary, masks.embeddings[row], text)  # [Q, K+1]
        return self.certainty(logits, masks.mask_logits[row], features, request.index)

    def train(self, mode: bool = True) -> FreeSeg:
        """Also ends the test set that prompts were being adapted to."""
        if self.tuner is not None:
            self.tuner.clear()
        return super().train(mode)


@register(META_ARCH_REGISTRY)
class OpenVocabulary(FreeSeg):
    """`FreeSeg` under the name in the release's configurations."""


def _build_ensemble(cfg: CfgNode) -> RegionEnsemble | None:
    node = cfg.MODEL.CLIP_ADAPTER
    if not node.CLIP_ENSEMBLE:
        return None
    return RegionEnsemble(
        RegionCrops(**region_arguments(cfg)),
        node.CLIP_ENSEMBLE_WEIGHT,
        cfg.MODEL.FREESEG.REGION_OBJECTNESS,
    )


def _build_tuner(cfg: CfgNode) -> PromptTuner | None:
    arguments = tuning_arguments(cfg)
    if arguments is None:
        return None
    return PromptTuner(TuningSettings(**arguments), per_dataset=cfg.TEST.PROMPT_TUNING.PER_DATASET)


def _forget_extras(state: dict[str, Tensor], *_: Any) -> None:
    """Lets weights of the release load as they are."""
    KEY_MAPS["freeseg"].drop_from(state)
