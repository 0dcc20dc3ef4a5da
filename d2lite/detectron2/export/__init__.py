"""Export of models: scripting code that uses `Instances`; the rest needs the real package."""

from __future__ import annotations

import warnings
from typing import Any

from detectron2._missing import missing
from detectron2.export.torchscript import dump_torchscript_IR, scripting_with_instances

STABLE_ONNX_OPSET_VERSION = 11

TracingAdapter = missing("detectron2.export.TracingAdapter")
Caffe2Model = missing("detectron2.export.Caffe2Model")
Caffe2Tracer = missing("detectron2.export.Caffe2Tracer")

__all__ = [
    "STABLE_ONNX_OPSET_VERSION",
    "Caffe2Model",
    "Caffe2Tracer",
    "TracingAdapter",
    "add_export_config",
    "dump_torchscript_IR",
    "scripting_with_instances",
]


def add_export_config(cfg: Any) -> Any:
    """Return `cfg` as it is; upstream deprecated this and made it do nothing."""
    message = "add_export_config has been deprecated and behaves as no-op function."
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return cfg
