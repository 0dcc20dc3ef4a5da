"""Panoptic FPN: registered by name; the network is in the real package only."""

from __future__ import annotations

from detectron2._missing import missing

from .build import META_ARCH_REGISTRY

PanopticFPN = missing("detectron2.modeling.meta_arch.panoptic_fpn.PanopticFPN")
META_ARCH_REGISTRY.register(PanopticFPN)
