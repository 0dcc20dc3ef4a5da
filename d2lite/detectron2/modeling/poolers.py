"""RoI pooling: names only; the real package has it."""

from __future__ import annotations

from detectron2._missing import missing

ROIPooler = missing("detectron2.modeling.poolers.ROIPooler")
assign_boxes_to_levels = missing("detectron2.modeling.poolers.assign_boxes_to_levels")
convert_boxes_to_pooler_format = missing(
    "detectron2.modeling.poolers.convert_boxes_to_pooler_format"
)
