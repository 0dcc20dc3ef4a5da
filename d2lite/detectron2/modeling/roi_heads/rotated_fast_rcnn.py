"""Rotated box heads: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

from .roi_heads import ROI_HEADS_REGISTRY

RotatedFastRCNNOutputLayers = missing(
    "detectron2.modeling.roi_heads.rotated_fast_rcnn.RotatedFastRCNNOutputLayers"
)
RROIHeads = missing("detectron2.modeling.roi_heads.rotated_fast_rcnn.RROIHeads")
ROI_HEADS_REGISTRY.register(RROIHeads)
