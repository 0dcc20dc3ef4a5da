"""Saving and loading of weights and training states."""

from __future__ import annotations

from fvcore.common.checkpoint import Checkpointer, PeriodicCheckpointer

from . import catalog as _catalog  # noqa: F401  registers catalog://
from .detection_checkpoint import DetectionCheckpointer

__all__ = ["Checkpointer", "DetectionCheckpointer", "PeriodicCheckpointer"]
