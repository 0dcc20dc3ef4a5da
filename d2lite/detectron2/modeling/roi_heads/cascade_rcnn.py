"""Cascade R-CNN heads: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

from .roi_heads import ROI_HEADS_REGISTRY

CascadeROIHeads = missing("detectron2.modeling.roi_heads.cascade_rcnn.CascadeROIHeads")
ROI_HEADS_REGISTRY.register(CascadeROIHeads)
