"""Box prediction of Fast R-CNN: names only; the real package has it."""

from __future__ import annotations

from detectron2._missing import missing

FastRCNNOutputLayers = missing("detectron2.modeling.roi_heads.fast_rcnn.FastRCNNOutputLayers")
fast_rcnn_inference = missing("detectron2.modeling.roi_heads.fast_rcnn.fast_rcnn_inference")
