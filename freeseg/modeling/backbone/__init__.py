"""Backbones beside Detectron2's own."""

from freeseg.modeling.backbone.swin import D2SwinTransformer
from freeseg.modeling.backbone.timm_backbone import TimmBackbone

__all__ = ["D2SwinTransformer", "TimmBackbone"]
