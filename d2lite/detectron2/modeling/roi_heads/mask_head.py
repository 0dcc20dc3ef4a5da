"""Registry of mask heads; the heads themselves are in the real package."""

from __future__ import annotations

from detectron2._missing import missing
from detectron2.utils.registry import Registry

ROI_MASK_HEAD_REGISTRY = Registry("ROI_MASK_HEAD")
ROI_MASK_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: masks of regions.
"""

MaskRCNNConvUpsampleHead = missing(
    "detectron2.modeling.roi_heads.mask_head.MaskRCNNConvUpsampleHead"
)
BaseMaskRCNNHead = missing("detectron2.modeling.roi_heads.mask_head.BaseMaskRCNNHead")
mask_rcnn_inference = missing("detectron2.modeling.roi_heads.mask_head.mask_rcnn_inference")
mask_rcnn_loss = missing("detectron2.modeling.roi_heads.mask_head.mask_rcnn_loss")
ROI_MASK_HEAD_REGISTRY.register(MaskRCNNConvUpsampleHead)


def build_mask_head(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_MASK_HEAD.NAME`` names."""
    return ROI_MASK_HEAD_REGISTRY.get(cfg.MODEL.ROI_MASK_HEAD.NAME)(cfg, input_shape)
