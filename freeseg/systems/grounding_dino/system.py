"""Grounding DINO (Liu et al., ECCV 2024, arXiv 2303.05499): boxes of what words name.

Shapes: B images, T text tokens, Q queries, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, Backbone
from freeseg.classes import trained_vocabulary, training_vocabularies
from freeseg.config import completed
from freeseg.inference import PhotoInput
from freeseg.names import register
from freeseg.structures import (
    InstanceSet,
    Request,
    Sample,
    SegmentationResult,
    Takes,
    Task,
    Vocabulary,
)
from freeseg.systems.grounding_dino.answers import (
    class_boxes,
    name_scores,
    photo_boxes,
    phrase_scores,
)
from freeseg.systems.grounding_dino.captions import EncodedText, TextSide
from freeseg.systems.grounding_dino.config import box_training, grounding_dino_parts
from freeseg.systems.grounding_dino.decoder import DecodedBoxes, GroundingDecoder
from freeseg.systems.grounding_dino.enhancer import Enhanced, Enhancer
from freeseg.systems.grounding_dino.features import Levels, TokenFeatures
from freeseg.systems.grounding_dino.selection import QuerySelection, Selected
from freeseg.systems.grounding_dino.targets import class_list, read_targets
from freeseg.systems.grounding_dino.training import BoxTraining
from freeseg.systems.system import PreparedImages, SegmentationSystem


class Grounded(NamedTuple):
    """Everything between an image with its caption and the boxes."""

    enhanced: Enhanced
    selected: Selected
    layers: list[DecodedBoxes]  # the last one's is the answer


@register(META_ARCH_REGISTRY)
class GroundingDINO(SegmentationSystem[TokenFeatures]):
    """Image, text, and an enhancer, a selection and a decoder in which they read each other."""

    has_masks = False
    answers: Mapping[Task, Takes] = {
        Task.INSTANCE: Takes(needs=frozenset({"classes"})),
        Task.OBJECT: Takes(needs=frozenset({"phrases"})),
    }

    @configurable
    def __init__(
        self,
        *,
        backbone: Backbone,
        levels: Levels,
        text_side: TextSide,
        enhancer: Enhancer,
        selection: QuerySelection,
        decoder: GroundingDecoder,
        in_features: Sequence[str],
        photo_input: PhotoInput,
        vocabulary: Vocabulary | None = None,
        max_instances: int = 300,
        min_score: float = 0.0,
        readings: int = 3,
        training: BoxTraining | None = None,
        vocabularies: Mapping[str, Vocabulary] | None = None,
    ) -> None:
        """Puts the parts together.

        Args:
            backbone: Detectron2 backbone.
            levels: Makes tokens of its maps.
            text_side: Reads captions.
            enhancer: Of tokens and words.
            selection: Of queries.
            decoder: Of boxes.
            in_features: Maps of the backbone, fine to coarse.
            photo_input: How photos become images, and images a batch.
            vocabulary: What is looked for where nobody says; None: somebody has to.
            max_instances: Boxes of a class list at most.
            min_score: Of its boxes.
            readings: Boxes of a phrase at most; the first is the answer.
            training: Matching and losses; None: those of the paper's table.
            vocabularies: Class lists of the training sets; samples of none have `vocabulary`.
        """
        super().__init__(photo_input=photo_input, tasks=(Task.INSTANCE,))
        self.backbone = backbone
        self.levels = levels
        self.text_side = text_side
        self.enhancer = enhancer
        self.selection = selection
        self.decoder = decoder
        self.in_features = tuple(in_features)
        self.vocabulary = vocabulary
        self.max_instances, self.min_score, self.readings = max_instances, min_score, readings
        self.box_training = training or BoxTraining()
        self.vocabularies: dict[str | None, Vocabulary] = {}
        self.vocabularies.update(vocabularies or {})
        if vocabulary is not None:
            self.vocabularies[None] = vocabulary
            takes = Takes(may=frozenset({"classes"}))
            self.answers = {**type(self).answers, Task.INSTANCE: takes}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        cfg = completed(cfg)
        node = cfg.MODEL.GROUNDING_DINO
        return {
            **grounding_dino_parts(cfg),
            "in_features": node.IN_FEATURES,
            "photo_input": PhotoInput.from_config(cfg),
            "vocabulary": trained_vocabulary(cfg),
            "vocabularies": training_vocabularies(cfg),
            "training": box_training(cfg),
            "max_instances": cfg.TEST.DETECTIONS_PER_IMAGE,
            "min_score": node.MIN_SCORE,
            "readings": node.READINGS,
        }

    def encode(self, prepared: PreparedImages) -> TokenFeatures:
        """Backbone and levels: all that no word changes."""
        maps = self.backbone(prepared.pixels)
        found: TokenFeatures = self.levels(
            [maps[name] for name in self.in_features], prepared.frames
        )
        return found

    def decode(self, features: TokenFeatures, text: EncodedText) -> Grounded:
        """Boxes of B images under as many captions."""
        enhanced = self.enhancer(features, text)
        selected = self.selection(features, enhanced, text.is_token)
        return Grounded(
            enhanced, selected, self.decoder(features, enhanced, text.is_token, selected)
        )

    def count_targets(self, sample: Sample) -> int:
        """How many objects of classes that may be seen an image has."""
        if sample.caption is not None:
            return len(sample.labels())
        seen = set(class_list(sample, self.vocabularies).seen_classes())
        return sum(label in seen for label in sample.labels().tolist())

    def losses(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """Of boxes and words: of the selected tokens, and after every layer of the decoder."""
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        captioned = read_targets(samples, self.text_side, self.vocabularies, generator)
        targets = [target.to(self.device) for target in captioned.targets]
        text = self.text_side(captioned.captions)
        features = self.encode_samples(samples)
        _, selected, layers = self.decode(features, text)
        predictions = {"_interm": (selected.word_logits, selected.box_logits.sigmoid())}
        for number, layer in enumerate(layers):
            ending = f"_{number}" if number < len(layers) - 1 else ""
            predictions[ending] = layer.word_logits, layer.boxes
        return self.box_training(predictions, targets, text.is_token)

    def answer(
        self, features: TokenFeatures, requests: Sequence[Request]
    ) -> list[SegmentationResult]:
        """Results of requests about encoded images, boxes without masks."""
        return [self._result(features.select([each.index]), each) for each in requests]

    def _result(self, features: TokenFeatures, request: Request) -> SegmentationResult:
        """Of a request about the one image of `features`."""
        instances = objects = None
        vocabulary = request.prompt.vocabulary or self.vocabulary
        if Task.INSTANCE in request.tasks:
            assert vocabulary is not None
            instances = self._named(features, vocabulary)
        if Task.OBJECT in request.tasks:
            phrases = [phrase or "" for phrase in request.prompt.phrases or ()]
            readings = self.readings if request.wants.alternatives else 1
            objects = self._meant(features, phrases, readings)
        certainty = None
        if request.wants.certainty:
            scores = [found.scores for found in (instances, objects) if found is not None]
            certainty = float(torch.cat(scores).amax()) if sum(map(len, scores)) else 0.0
        return SegmentationResult(
            instances=instances, objects=objects, vocabulary=vocabulary, certainty=certainty
        )

    def _named(self, features: TokenFeatures, vocabulary: Vocabulary) -> InstanceSet:
        """The boxes of a class list; of stuff there are none."""
        things = [label for label, is_thing in enumerate(vocabulary.is_thing) if is_thing]
        named = vocabulary.select(things)
        scores, boxes = [], []
        for part in self.text_side.listed(named.texts) if things else ():
            logits, found = self._decoded(features, part.ids)
            scores.append(name_scores(logits, part.spans))
            boxes.append(found[:, None].expand(-1, len(part.spans), -1))
        if not scores:
            nothing = features.tokens.new_zeros(1, 0, 4)
            scores, boxes = [nothing[..., 0]], [nothing]
        found_boxes = class_boxes(
            torch.cat(scores, dim=1),
            torch.cat(boxes, dim=1),
            named,
            features.frames[0],
            max_instances=self.max_instances,
            min_score=self.min_score,
        )
        assert found_boxes.labels is not None
        labels = torch.tensor(things, dtype=torch.int64, device=self.device)[found_boxes.labels]
        return replace(found_boxes, labels=labels)

    def _meant(self, features: TokenFeatures, phrases: Sequence[str], readings: int) -> InstanceSet:
        """The boxes of phrases, each asked about alone."""
        frame = features.frames[0]
        boxes, scores = [features.tokens.new_zeros(0, 4)], [features.tokens.new_zeros(0)]
        owners: list[int] = []
        choices: list[int] = []
        for number, phrase in enumerate(phrases):
            (part,) = self.text_side.listed([phrase])
            logits, found = self._decoded(features, part.ids)
            best = phrase_scores(logits, part.spans[0]).topk(min(readings, len(found)))
            boxes.append(photo_boxes(found[best.indices], frame))
            scores.append(best.values)
            owners += [number] * len(best.indices)
            choices += range(len(best.indices))
        return InstanceSet(
            masks=None,
            boxes=torch.cat(boxes),
            labels=None,
            scores=torch.cat(scores),
            owners=torch.tensor(owners, dtype=torch.int64, device=self.device),
            choices=torch.tensor(choices, dtype=torch.int64, device=self.device),
            size=frame.photo_size,
        )

    def _decoded(self, features: TokenFeatures, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Word logits [Q, T] and boxes [Q, 4] of an image under a caption."""
        text = self.text_side(self.text_side.of_ids([ids]))
        last = self.decode(features, text).layers[-1]
        return last.word_logits[0], last.boxes[0]
