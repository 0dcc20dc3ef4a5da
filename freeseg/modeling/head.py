"""The segmentation head of the Mask2Former family: a pixel decoder and a query decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from freeseg.config import completed, system_section
from freeseg.modeling.decoder import TRANSFORMER_DECODER_REGISTRY
from freeseg.names import own_component, register
from freeseg.structures import MaskPrediction, PyramidFeatures

PUBLISHED_IN_FEATURE = "multi_scale_pixel_decoder"


@register(SEM_SEG_HEADS_REGISTRY)
class MaskFormerHead(nn.Module):
    """Holds both decoders under the parameter names of the releases.

    ``pixel_decoder`` maps backbone maps to (mask embedding, levels); ``predictor`` maps
    `PyramidFeatures` to predictions. The image is encoded once (`encode_image`) and may be decoded
    many times.
    """

    @configurable
    def __init__(self, *, pixel_decoder: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.predictor = predictor

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        cfg = completed(cfg)
        node = system_section(cfg)
        if node.TRANSFORMER_IN_FEATURE != PUBLISHED_IN_FEATURE:
            raise ValueError(
                f"TRANSFORMER_IN_FEATURE must be {PUBLISHED_IN_FEATURE!r}, "
                f"got {node.TRANSFORMER_IN_FEATURE!r}"
            )
        build_pixel_decoder = own_component(
            SEM_SEG_HEADS_REGISTRY, cfg.MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME
        )
        build_predictor = TRANSFORMER_DECODER_REGISTRY.get(node.TRANSFORMER_DECODER_NAME)
        return {
            "pixel_decoder": build_pixel_decoder(cfg, input_shape),
            "predictor": build_predictor(cfg),
        }

    def encode_image(
        self,
        features: Mapping[str, Tensor],
        padded_size: tuple[int, int],
        image_sizes: Sequence[tuple[int, int]],
    ) -> PyramidFeatures:
        """Runs the pixel decoder on backbone maps {name: [B, C, h, w]}."""
        mask_features, levels = self.pixel_decoder(features)
        return PyramidFeatures.of_sizes(levels, mask_features, padded_size, image_sizes)

    def forward(self, features: PyramidFeatures) -> list[MaskPrediction]:
        """Runs the query decoder; the final prediction is the last."""
        return self.predictor(features)

    def final(self, features: PyramidFeatures) -> MaskPrediction:
        """The final prediction alone, for inference."""
        return self.predictor.final(features)  # type: ignore[operator]
