"""LSeg (Li et al., ICLR 2022, arXiv 2201.03546): every pixel lies in the space of texts.

Shapes: B images, K classes, T texts of them, D width of texts, h w half the size H W of the
padded image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone, build_sem_seg_head
from freeseg.classes import training_vocabularies
from freeseg.config import completed
from freeseg.config_lseg import withholding_arguments
from freeseg.inference import (
    check_tasks,
    dense_certainty,
    groups_by_padded_size,
    label_map,
    to_size,
    upsample,
    without_padding,
)
from freeseg.meta_arch.image_system import ImageSystem
from freeseg.meta_arch.requests import vocabulary_of
from freeseg.modeling import ClipAdapter
from freeseg.names import register, with_own_names
from freeseg.structures import CERTAINTY_KEY, DATASET_KEY, LABEL_MAP_KEY, ImageFeatures, Vocabulary
from freeseg.text import (
    TemplatePrompts,
    TextEncoder,
    TextFeatureCache,
    build_text_encoder,
    default_folder,
)
from freeseg.training import VOID, PixelCriterion, withhold


@register(META_ARCH_REGISTRY)
class LSeg(ImageSystem):
    """Backbone, fusion and pixel embedding, frozen text encoder, regularised logits."""

    takes_vocabulary = True
    answered_tasks = ("semantic",)

    @configurable
    def __init__(
        self,
        *,
        text_adapter: ClipAdapter,
        vocabularies: Mapping[str, Vocabulary],
        withholding: Mapping[str, float],
        **parts: Any,
    ) -> None:
        """Puts the parts together.

        Args:
            text_adapter: The frozen text encoder with its cache.
            vocabularies: Label lists of the training sets by their names; the first is that of
                inputs that name none.
            withholding: ``probability`` of a step in which some labels are withheld, and the
                ``share`` of them; their pixels are then to be "other".
            **parts: Arguments of `ImageSystem`; the head is an `LSegHead`.
        """
        super().__init__(**parts)
        if text_adapter.clip_model.dim != self.sem_seg_head.head1.out_channels:
            raise ValueError(
                f"texts have {text_adapter.clip_model.dim} channels, pixels "
                f"{self.sem_seg_head.head1.out_channels}: set MODEL.LSEG.EMBEDDING_DIM"
            )
        self.text_adapter = text_adapter
        self.vocabularies = dict(vocabularies)
        self.withholding = dict(withholding)
        self.criterion = PixelCriterion()

    @classmethod
    def from_config(cls, cfg: CfgNode, text_encoder: TextEncoder | None = None) -> dict[str, Any]:
        cfg = with_own_names(completed(cfg))
        backbone = build_backbone(cfg)
        head = build_sem_seg_head(cfg, backbone.output_shape())
        coarsest = max(backbone.output_shape()[name].stride for name in head.in_features)
        cache = TextFeatureCache(default_folder() if cfg.MODEL.TEXT_ENCODER.CACHE else None)
        return {
            "backbone": backbone,
            "sem_seg_head": head,
            "text_adapter": ClipAdapter(
                clip_model=text_encoder or build_text_encoder(cfg),
                prompt_learner=TemplatePrompts(cfg.MODEL.LSEG.TEMPLATES),
                has_void=False,
                saves_encoder=cfg.MODEL.TEXT_ENCODER.SAVE,
                cache=cache,
            ),
            "vocabularies": _read_vocabularies(cfg),
            "withholding": withholding_arguments(cfg),
            # Detectron2's ResNet takes any size; the fusion doubles its maps
            "size_divisibility": backbone.size_divisibility or coarsest,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        }

    @property
    def vocabulary(self) -> Vocabulary:
        """The label list of inputs that name none."""
        return next(iter(self.vocabularies.values()))

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Detectron2's contract: losses when training, else one result dict per image.

        Args:
            batched_inputs: Each has ``image`` [3, H, W], 0..255; for training ``instances`` with
                ``gt_classes`` and ``gt_masks``, or ``sem_seg``, and ``dataset_name`` where there
                are several; for inference optionally ``vocabulary``, ``height`` and ``width`` of
                the output, ``label_map`` and ``certainty``.

        Returns:
            {"loss_sem_seg": loss}, or for each image ``sem_seg``: logits [K, H, W], or with
            ``label_map`` the labels int64 [H, W], which takes little memory for any K; with
            ``certainty`` that, in [0, 1].
        """
        if self.training:
            features = self.encode_image([x["image"] for x in batched_inputs])
            return self.losses(features, batched_inputs)
        for x in batched_inputs:
            check_tasks(x.get("tasks", ("semantic",)))
        sizes = [tuple(x["image"].shape[-2:]) for x in batched_inputs]
        outputs: list[dict[str, Any]] = [{} for _ in batched_inputs]
        for group in groups_by_padded_size(sizes, self.size_divisibility):
            features = self.encode_image([batched_inputs[index]["image"] for index in group])
            for row, index in enumerate(group):
                outputs[index] = self.segment(features.select([row]), batched_inputs[index])
        return outputs

    def segment(self, features: ImageFeatures, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The result of one encoded image for the labels and the size that its input asks for."""
        if "semantic" not in wanted.get("tasks", ("semantic",)):
            return {}
        vocabulary = vocabulary_of(wanted, self.vocabulary)
        text = self.text(vocabulary)
        height, width = features.image_sizes[0]
        size = int(wanted.get("height", height)), int(wanted.get("width", width))
        output: dict[str, Any] = {}
        if wanted.get(CERTAINTY_KEY):
            output[CERTAINTY_KEY] = self.certainty_of(features)
        if wanted.get(LABEL_MAP_KEY):
            labels = label_map(self.sem_seg_head, features, text, vocabulary, size)
            return {"sem_seg": labels, **output}
        logits = self.sem_seg_head(features, text, vocabulary)[0]  # [K, h, w]
        return {"sem_seg": upsample(logits, features, 0, size), **output}

    def certainty_of(self, features: ImageFeatures) -> float:
        """How far the model knows what it sees in one image, whatever was asked for."""
        head, own = self.sem_seg_head, self.vocabulary
        logits = head.classify(features, self.text(own), own)[0]  # [K, h, w]
        return self.certainty(without_padding(logits, features, 0), head.logit_scale)

    def certainty(self, logits: Tensor, scale: float) -> float:
        """In [0, 1], of cosines with the classes of the training, times `scale` [K, h, w]."""
        return dense_certainty(logits, scale)

    def text(self, vocabulary: Vocabulary) -> Tensor:
        """Unit vectors [T, D] of the texts of a label list."""
        return self.text_adapter.class_features(vocabulary.texts, "semantic")

    def losses(
        self, features: ImageFeatures, batched_inputs: Sequence[dict[str, Any]]
    ) -> dict[str, Tensor]:
        """Cross-entropy of every image's pixels among the labels of its own dataset."""
        targets = self.targets(batched_inputs, features)
        first = next(iter(self.vocabularies))
        groups: dict[str, list[int]] = {}
        for index, x in enumerate(batched_inputs):
            groups.setdefault(x.get(DATASET_KEY, first), []).append(index)
        logits, labels = [], []
        for name, indices in groups.items():
            texts, vocabulary, new_label = self._step_labels(self.vocabularies[name])
            maps = self.sem_seg_head(features.select(indices), texts, vocabulary)
            logits.append(to_size(maps, features.padded_size))  # [B, K, H, W]
            truth = [targets[index].relabel(new_label).label_map(VOID) for index in indices]
            labels.append(torch.stack(truth))  # [B, H, W]
        return self.criterion(logits, labels)

    def _step_labels(self, vocabulary: Vocabulary) -> tuple[Tensor, Vocabulary, Tensor]:
        """What one step is judged by: texts [T, D], their K labels, and K' new labels of old ones.

        Classes that may not be seen become -1, withheld ones "other".
        """
        classes = vocabulary.seen_classes()
        new_label = torch.full((len(vocabulary),), -1)
        probability = self.withholding["probability"]
        if probability and float(torch.rand(())) < probability:
            kept = [classes[index] for index in withhold(len(classes), self.withholding["share"])]
            vocabulary = vocabulary.with_other()
            new_label[classes] = len(kept)
            shown = [*kept, len(vocabulary) - 1]
        else:
            kept = shown = classes
        new_label[kept] = torch.arange(len(kept))
        texts = self.text(vocabulary)[vocabulary.text_rows(shown)]
        return texts, vocabulary.select(shown), new_label


def _read_vocabularies(cfg: CfgNode) -> dict[str, Vocabulary]:
    """Label lists of the training sets, else of the test sets, else numbered classes under ""."""
    known = training_vocabularies(cfg)
    if known and cfg.MODEL.get("CLASSES", ""):
        return known
    numbered = Vocabulary.from_metadata({}, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
    names = cfg.DATASETS.TRAIN or cfg.DATASETS.TEST or ("",)
    return {name: known.get(name, numbered) for name in names}
