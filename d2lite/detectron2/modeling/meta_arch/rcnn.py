"""R-CNN detectors: registered by name; the network is in the real package only."""

from __future__ import annotations

from detectron2._missing import missing

from .build import META_ARCH_REGISTRY

GeneralizedRCNN = missing("detectron2.modeling.meta_arch.rcnn.GeneralizedRCNN")
ProposalNetwork = missing("detectron2.modeling.meta_arch.rcnn.ProposalNetwork")
META_ARCH_REGISTRY.register(GeneralizedRCNN)
META_ARCH_REGISTRY.register(ProposalNetwork)
