"""Backbones beside Detectron2's own."""

from freeseg.modeling.backbone.convnext import D2ConvNeXt
from freeseg.modeling.backbone.dinat import D2DiNAT
from freeseg.modeling.backbone.dpt import DPTBackbone
from freeseg.modeling.backbone.swin import D2SwinTransformer
from freeseg.modeling.backbone.timm_backbone import TimmBackbone

__all__ = [
    "D2ConvNeXt",
    "D2DiNAT",
    "D2SwinTransformer",
    "DPTBackbone",
    "TimmBackbone",
]
