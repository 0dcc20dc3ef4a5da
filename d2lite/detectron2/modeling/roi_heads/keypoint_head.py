"""Registry of keypoint heads; the heads themselves are in the real package."""

from __future__ import annotations

from detectron2.utils.registry import Registry

ROI_KEYPOINT_HEAD_REGISTRY = Registry("ROI_KEYPOINT_HEAD")
ROI_KEYPOINT_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: keypoints of regions.
"""


def build_keypoint_head(cfg, input_shape):
    """Build what ``cfg.MODEL.ROI_KEYPOINT_HEAD.NAME`` names."""
    return ROI_KEYPOINT_HEAD_REGISTRY.get(cfg.MODEL.ROI_KEYPOINT_HEAD.NAME)(cfg, input_shape)
