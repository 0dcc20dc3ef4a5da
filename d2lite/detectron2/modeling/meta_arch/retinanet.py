"""RetinaNet: registered by name; the network is in the real package only."""

from __future__ import annotations

from detectron2._missing import missing

from .build import META_ARCH_REGISTRY

RetinaNet = missing("detectron2.modeling.meta_arch.retinanet.RetinaNet")
META_ARCH_REGISTRY.register(RetinaNet)
