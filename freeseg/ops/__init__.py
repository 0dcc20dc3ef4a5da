"""Operators that PyTorch lacks."""

from freeseg.ops.implementations import Availability, available
from freeseg.ops.masks import mask_areas, mask_boxes, masked_crops
from freeseg.ops.ms_deform_attn import ms_deform_attn
from freeseg.ops.nms import nms, nms_by_class
from freeseg.ops.reference import ms_deform_attn_reference

__all__ = [
    "Availability",
    "available",
    "mask_areas",
    "mask_boxes",
    "masked_crops",
    "ms_deform_attn",
    "ms_deform_attn_reference",
    "nms",
    "nms_by_class",
]
