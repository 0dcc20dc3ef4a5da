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
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone, build_sem_seg_head
from freeseg.classes import training_vocabularies
from freeseg.config import completed
from freeseg.inference import PhotoInput, dense_certainty, to_padded_size, upsample
from freeseg.names import register, with_own_names
from freeseg.structures import (
    PyramidFeatures,
    Request,
    Sample,
    SegmentationResult,
    SemanticMap,
    Takes,
    Task,
    Vocabulary,
)
from freeseg.systems.lseg.config import withholding_arguments
from freeseg.systems.lseg.head import LSegHead
from freeseg.systems.lseg.label_map import label_map
from freeseg.systems.lseg.withholding import withhold
from freeseg.systems.system import PyramidSystem
from freeseg.text import (
    ClipAdapter,
    TemplatePrompts,
    TextEncoder,
    TextFeatureCache,
    build_text_encoder,
    default_folder,
)
from freeseg.training import VOID, PixelCriterion


@register(META_ARCH_REGISTRY)
class LSeg(PyramidSystem):
    """Backbone, fusion and pixel embedding, frozen text encoder, regularised logits."""

    answers: Mapping[Task, Takes] = {Task.SEMANTIC: Takes(may=frozenset({"classes"}))}

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        sem_seg_head: LSegHead,
        text_adapter: ClipAdapter,
        vocabularies: Mapping[str, Vocabulary],
        withholding: Mapping[str, float],
        photo_input: PhotoInput,
        ignore_label: int = 255,
    ) -> None:
        """Puts the parts together.

        Args:
            backbone: Detectron2 backbone of four maps.
            sem_seg_head: Embeds pixels and compares them with texts.
            text_adapter: The frozen text encoder with its cache.
            vocabularies: Label lists of the training sets by their names; the first is that of
                inputs that name none.
            withholding: ``probability`` of a step in which some labels are withheld, and the
                ``share`` of them; their pixels are then to be "other".
            photo_input: How photos become images, and images a batch.
            ignore_label: Of pixels without annotation in ``sem_seg``.
        """
        super().__init__(photo_input=photo_input, tasks=(Task.SEMANTIC,), ignore_label=ignore_label)
        if text_adapter.clip_model.dim != sem_seg_head.head1.out_channels:
            raise ValueError(
                f"texts have {text_adapter.clip_model.dim} channels, pixels "
                f"{sem_seg_head.head1.out_channels}: set MODEL.LSEG.EMBEDDING_DIM"
            )
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
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
            "photo_input": PhotoInput.from_config(cfg, backbone.size_divisibility or coarsest),
            "ignore_label": cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        }

    @property
    def vocabulary(self) -> Vocabulary:  # type: ignore[override]
        """The label list of inputs that name none."""
        return next(iter(self.vocabularies.values()))

    def decode(
        self, features: PyramidFeatures, rows: Sequence[int], vocabulary: Vocabulary
    ) -> Tensor:
        """Logits [B, K, h, w] of some images and one class list."""
        return self.sem_seg_head(features.select(rows), self.text(vocabulary), vocabulary)

    def answer(
        self, features: PyramidFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images; each may have its own class list."""
        return [self._result(features, request) for request in requests]

    def _result(self, features: PyramidFeatures, request: Request) -> SegmentationResult:
        vocabulary = request.vocabulary(self.vocabulary)
        frame = features.frames[request.index]
        certainty = None
        if request.wants.certainty:
            certainty = self.certainty_of(features.select([request.index]))
        if request.wants.labels:
            alone, text = features.select([request.index]), self.text(vocabulary)
            labels = label_map(self.sem_seg_head, alone, text, vocabulary, frame.photo_size)
            semantic = SemanticMap(labels=labels)
        else:
            logits = self.decode(features, [request.index], vocabulary)[0]
            semantic = SemanticMap(scores=upsample(logits, frame, frame.photo_size))
        return SegmentationResult(semantic=semantic, vocabulary=vocabulary, certainty=certainty)

    def certainty_of(self, features: PyramidFeatures) -> float:
        """How far the model knows what it sees in one image, whatever was asked for."""
        head, own = self.sem_seg_head, self.vocabulary
        logits = head.classify(features, self.text(own), own)[0]  # [K, h, w]
        return self.certainty(features.frames[0].without_padding(logits), head.logit_scale)

    def certainty(self, logits: Tensor, scale: float) -> float:
        """In [0, 1], of cosines with the classes of the training, times `scale` [K, h, w]."""
        return dense_certainty(logits, scale)

    def text(self, vocabulary: Vocabulary) -> Tensor:
        """Unit vectors [T, D] of the texts of a label list."""
        return self.text_adapter.class_features(vocabulary.texts, "semantic")

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Cross-entropy of every image's pixels among the labels of its own dataset."""
        features = self.encode_samples(samples)
        targets = self.targets(samples, features)
        first = next(iter(self.vocabularies))
        groups: dict[str, list[int]] = {}
        for index, sample in enumerate(samples):
            groups.setdefault(sample.dataset or first, []).append(index)
        logits, labels = [], []
        for name, indices in groups.items():
            texts, vocabulary, new_label = self._step_labels(self.vocabularies[name])
            maps = self.sem_seg_head(features.select(indices), texts, vocabulary)
            logits.append(to_padded_size(maps, features.padded_size))  # [B, K, H, W]
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
