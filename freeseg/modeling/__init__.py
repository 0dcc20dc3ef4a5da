"""Backbones, pixel decoders, query decoders and heads."""

from __future__ import annotations

from typing import Any

from freeseg.modeling import backbone
from freeseg.modeling.backbone import D2SwinTransformer
from freeseg.modeling.classifier import class_logits, cosine_logits
from freeseg.modeling.clip_adapter import ClipAdapter
from freeseg.modeling.decoder import (
    TRANSFORMER_DECODER_REGISTRY,
    MaskedQueryDecoder,
    MultiScaleMaskedTransformerDecoder,
    OneFormerDecoder,
    OpenVocabularyDecoder,
    TaskConditionedOutput,
)
from freeseg.modeling.fused import fuse_for_inference
from freeseg.modeling.head import MaskFormerHead, OneFormerHead
from freeseg.modeling.interaction import ContextInteraction
from freeseg.modeling.interaction_head import MaskFormerInteractionHead
from freeseg.modeling.lseg_head import LSegHead
from freeseg.modeling.pixel_decoder import MSDeformAttnPixelDecoder
from freeseg.modeling.regions import (
    RegionCrops,
    paint_background,
    region_features,
    require_image_tower,
)


def __getattr__(name: str) -> Any:
    if name in backbone.__all__:  # imported when they are asked for
        return getattr(backbone, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "TRANSFORMER_DECODER_REGISTRY",
    "ClipAdapter",
    "ContextInteraction",
    "D2ConvNeXt",
    "D2DiNAT",
    "D2SwinTransformer",
    "DPTBackbone",
    "LSegHead",
    "MSDeformAttnPixelDecoder",
    "MaskFormerHead",
    "MaskFormerInteractionHead",
    "MaskedQueryDecoder",
    "MultiScaleMaskedTransformerDecoder",
    "OneFormerDecoder",
    "OneFormerHead",
    "OpenVocabularyDecoder",
    "RegionCrops",
    "TaskConditionedOutput",
    "TimmBackbone",
    "class_logits",
    "cosine_logits",
    "fuse_for_inference",
    "paint_background",
    "region_features",
    "require_image_tower",
]
