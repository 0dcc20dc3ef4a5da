"""Backbones, pixel decoders, query decoders and heads."""

from __future__ import annotations

from typing import Any

from freeseg.modeling import backbone
from freeseg.modeling.backbone import D2SwinTransformer
from freeseg.modeling.classifier import class_logits, cosine_logits
from freeseg.modeling.decoder import (
    TRANSFORMER_DECODER_REGISTRY,
    DecoderSizes,
    MaskedQueryDecoder,
    MultiScaleMaskedTransformerDecoder,
)
from freeseg.modeling.fused import fuse_for_inference
from freeseg.modeling.head import MaskFormerHead
from freeseg.modeling.pixel_decoder import MSDeformAttnPixelDecoder


def __getattr__(name: str) -> Any:
    if name in backbone.__all__:  # imported when they are asked for
        return getattr(backbone, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "TRANSFORMER_DECODER_REGISTRY",
    "D2ConvNeXt",
    "D2DiNAT",
    "D2SwinTransformer",
    "DPTBackbone",
    "DecoderSizes",
    "MSDeformAttnPixelDecoder",
    "MaskFormerHead",
    "MaskedQueryDecoder",
    "MultiScaleMaskedTransformerDecoder",
    "TimmBackbone",
    "class_logits",
    "cosine_logits",
    "fuse_for_inference",
]
