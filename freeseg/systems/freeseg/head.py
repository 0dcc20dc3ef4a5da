"""FreeSeg's segmentation head: pixel decoder, interaction with the class texts, query decoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from freeseg.config import completed
from freeseg.modeling.head import MaskFormerHead
from freeseg.names import own_component, register
from freeseg.structures import EmbeddedMasks, PyramidFeatures
from freeseg.systems.freeseg.config import interaction_arguments
from freeseg.systems.freeseg.decoder import OpenVocabularyDecoder
from freeseg.systems.freeseg.interaction import ContextInteraction


@register(SEM_SEG_HEADS_REGISTRY)
class MaskFormerInteractionHead(MaskFormerHead):
    """Encodes an image once, and decodes it for as many lists of texts as asked for."""

    @configurable
    def __init__(
        self, *, pixel_decoder: nn.Module, predictor: nn.Module, interaction: nn.Module | None
    ) -> None:
        super().__init__(pixel_decoder=pixel_decoder, predictor=predictor)
        self.interaction = interaction

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        cfg = completed(cfg)
        build_pixel_decoder = own_component(
            SEM_SEG_HEADS_REGISTRY, cfg.MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME
        )
        arguments = interaction_arguments(cfg)
        return {
            "pixel_decoder": build_pixel_decoder(cfg, input_shape),
            "predictor": OpenVocabularyDecoder(cfg),
            "interaction": None if arguments is None else ContextInteraction(**arguments),
        }

    def forward(  # type: ignore[override]
        self, features: PyramidFeatures, text: Tensor
    ) -> list[EmbeddedMasks]:
        """Masks of every decoder layer for images whose texts are `text` [B, K+1, D].

        Features of a single image may have several texts.
        """
        return self.predictor(self._interact(features, text))

    def final(  # type: ignore[override]
        self, features: PyramidFeatures, text: Tensor
    ) -> EmbeddedMasks:
        """The last masks of `forward`, computed alone."""
        return self.predictor.final(self._interact(features, text))  # type: ignore[operator]

    def _interact(self, features: PyramidFeatures, text: Tensor) -> PyramidFeatures:
        if self.interaction is not None:
            return self.interaction(features, text)
        is_shared = features.batch_size == 1
        return features.select([0] * len(text)) if is_shared else features
