"""MMDetection wrappers: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

MMDetBackbone = missing("detectron2.modeling.mmdet_wrapper.MMDetBackbone")
MMDetDetector = missing("detectron2.modeling.mmdet_wrapper.MMDetDetector")
