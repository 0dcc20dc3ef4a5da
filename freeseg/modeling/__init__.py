"""Backbones, pixel decoders, query decoders and heads."""

from freeseg.modeling.backbone import D2ConvNeXt, D2DiNAT, D2SwinTransformer, TimmBackbone
from freeseg.modeling.decoder import (
    TRANSFORMER_DECODER_REGISTRY,
    MaskedQueryDecoder,
    MultiScaleMaskedTransformerDecoder,
    OneFormerDecoder,
    TaskConditionedOutput,
)
from freeseg.modeling.head import MaskFormerHead, OneFormerHead
from freeseg.modeling.pixel_decoder import MSDeformAttnPixelDecoder

__all__ = [
    "TRANSFORMER_DECODER_REGISTRY",
    "D2ConvNeXt",
    "D2DiNAT",
    "D2SwinTransformer",
    "MSDeformAttnPixelDecoder",
    "MaskFormerHead",
    "MaskedQueryDecoder",
    "MultiScaleMaskedTransformerDecoder",
    "OneFormerDecoder",
    "OneFormerHead",
    "TaskConditionedOutput",
    "TimmBackbone",
]
