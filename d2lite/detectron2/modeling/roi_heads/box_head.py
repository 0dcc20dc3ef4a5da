"""Registry of box heads; the heads themselves are in the real package."""

from __future__ import annotations

from detectron2._missing import missing
from detectron2.utils.registry import Registry

ROI_BOX_HEAD_REGISTRY = Registry("ROI_BOX_HEAD")
ROI_BOX_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: box features of regions.
"""

FastRCNNConvFCHead = missing("detectron2.modeling.roi_heads.box_head.FastRCNNConvFCHead")
ROI_BOX_HEAD_REGISTRY.register(FastRCNNConvFCHead)


def build_box_head(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_BOX_HEAD.NAME`` names."""
    return ROI_BOX_HEAD_REGISTRY.get(cfg.MODEL.ROI_BOX_HEAD.NAME)(cfg, input_shape)
