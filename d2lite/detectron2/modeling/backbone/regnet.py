"""RegNet: names only; the real package has it."""

from __future__ import annotations

from detectron2._missing import missing

AnyNet = missing("detectron2.modeling.backbone.regnet.AnyNet")
RegNet = missing("detectron2.modeling.backbone.regnet.RegNet")
SimpleStem = missing("detectron2.modeling.backbone.regnet.SimpleStem")
ResBottleneckBlock = missing("detectron2.modeling.backbone.regnet.ResBottleneckBlock")
