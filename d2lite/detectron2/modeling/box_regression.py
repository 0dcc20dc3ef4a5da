"""Box regression: names only; the real package has it."""

from __future__ import annotations

from detectron2._missing import missing

Box2BoxTransform = missing("detectron2.modeling.box_regression.Box2BoxTransform")
Box2BoxTransformRotated = missing("detectron2.modeling.box_regression.Box2BoxTransformRotated")
Box2BoxTransformLinear = missing("detectron2.modeling.box_regression.Box2BoxTransformLinear")
