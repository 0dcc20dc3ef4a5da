"""Registry of keypoint heads; the heads themselves are in the real package."""

from __future__ import annotations

from detectron2._missing import missing
from detectron2.utils.registry import Registry

ROI_KEYPOINT_HEAD_REGISTRY = Registry("ROI_KEYPOINT_HEAD")
ROI_KEYPOINT_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: keypoints of regions.
"""

KRCNNConvDeconvUpsampleHead = missing(
    "detectron2.modeling.roi_heads.keypoint_head.KRCNNConvDeconvUpsampleHead"
)
BaseKeypointRCNNHead = missing("detectron2.modeling.roi_heads.keypoint_head.BaseKeypointRCNNHead")
ROI_KEYPOINT_HEAD_REGISTRY.register(KRCNNConvDeconvUpsampleHead)


def build_keypoint_head(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_KEYPOINT_HEAD.NAME`` names."""
    return ROI_KEYPOINT_HEAD_REGISTRY.get(cfg.MODEL.ROI_KEYPOINT_HEAD.NAME)(cfg, input_shape)
