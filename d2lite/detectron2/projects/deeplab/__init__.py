"""DeepLab: config keys, ResNet with the three-convolution stem, polynomial schedule."""

from __future__ import annotations

from detectron2._missing import missing

from .build_solver import build_lr_scheduler
from .config import add_deeplab_config
from .resnet import build_resnet_deeplab_backbone

DeepLabV3Head = missing("detectron2.projects.deeplab.DeepLabV3Head")
DeepLabV3PlusHead = missing("detectron2.projects.deeplab.DeepLabV3PlusHead")

__all__ = [
    "DeepLabV3Head",
    "DeepLabV3PlusHead",
    "add_deeplab_config",
    "build_lr_scheduler",
    "build_resnet_deeplab_backbone",
]
