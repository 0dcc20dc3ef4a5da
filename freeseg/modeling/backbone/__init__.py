"""Backbones beside Detectron2's own.

Those that are made of timm's parts are imported when they are built or asked for: timm takes longer
than the rest of this package.
"""

from __future__ import annotations

import importlib
from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from freeseg.modeling.backbone.swin import D2SwinTransformer
from freeseg.names import register

_OF_TIMM = {
    "D2ConvNeXt": "convnext",
    "D2DiNAT": "dinat",
    "DPTBackbone": "dpt",
    "TimmBackbone": "timm_backbone",
}


def _register_builder(name: str) -> None:
    def build(cfg: CfgNode, input_shape: ShapeSpec) -> Any:
        return __getattr__(name)(cfg, input_shape)

    build.__name__ = build.__qualname__ = name
    register(BACKBONE_REGISTRY)(build)


for _name in _OF_TIMM:
    _register_builder(_name)


def __getattr__(name: str) -> Any:
    if name not in _OF_TIMM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_OF_TIMM[name]}"), name)


__all__ = ["D2ConvNeXt", "D2DiNAT", "D2SwinTransformer", "DPTBackbone", "TimmBackbone"]
