"""Registry of RoI heads; the heads themselves are in the real package."""

from __future__ import annotations

from detectron2._missing import missing
from detectron2.utils.registry import Registry

ROI_HEADS_REGISTRY = Registry("ROI_HEADS")
ROI_HEADS_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: everything done per region.
"""

Res5ROIHeads = missing("detectron2.modeling.roi_heads.roi_heads.Res5ROIHeads")
StandardROIHeads = missing("detectron2.modeling.roi_heads.roi_heads.StandardROIHeads")
ROIHeads = missing("detectron2.modeling.roi_heads.roi_heads.ROIHeads")
select_foreground_proposals = missing(
    "detectron2.modeling.roi_heads.roi_heads.select_foreground_proposals"
)
ROI_HEADS_REGISTRY.register(Res5ROIHeads)
ROI_HEADS_REGISTRY.register(StandardROIHeads)


def build_roi_heads(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_HEADS.NAME`` names."""
    return ROI_HEADS_REGISTRY.get(cfg.MODEL.ROI_HEADS.NAME)(cfg, input_shape)
