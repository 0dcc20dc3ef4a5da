"""Export of models: scripting code that uses `Instances`; the rest needs the real package."""

from __future__ import annotations

import warnings
from typing import Any

from detectron2.export.torchscript import scripting_with_instances

STABLE_ONNX_OPSET_VERSION = 11

__all__ = ["STABLE_ONNX_OPSET_VERSION", "add_export_config", "scripting_with_instances"]


def add_export_config(cfg: Any) -> Any:
    """Return `cfg` as it is; upstream deprecated this and made it do nothing."""
    message = "add_export_config has been deprecated and behaves as no-op function."
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return cfg
