"""Model registries, backbones and post-processing."""

from __future__ import annotations

from detectron2.layers import ShapeSpec  # noqa: F401  user code imports it from here

from .backbone import (
    BACKBONE_REGISTRY,
    Backbone,
    ResNet,
    ResNetBlockBase,
    SwinTransformer,
    build_backbone,
    build_resnet_backbone,
    make_stage,
)
from .meta_arch import (
    META_ARCH_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    SemanticSegmentor,
    build_model,
    build_sem_seg_head,
)
from .test_time_augmentation import DatasetMapperTTA

__all__ = [
    "BACKBONE_REGISTRY",
    "META_ARCH_REGISTRY",
    "SEM_SEG_HEADS_REGISTRY",
    "Backbone",
    "DatasetMapperTTA",
    "ResNet",
    "ResNetBlockBase",
    "SemanticSegmentor",
    "SwinTransformer",
    "build_backbone",
    "build_model",
    "build_resnet_backbone",
    "build_sem_seg_head",
    "make_stage",
]
