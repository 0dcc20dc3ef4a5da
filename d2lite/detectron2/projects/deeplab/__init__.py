"""DeepLab: config keys, ResNet with the three-convolution stem, polynomial schedule."""

from __future__ import annotations

from .build_solver import build_lr_scheduler
from .config import add_deeplab_config
from .resnet import build_resnet_deeplab_backbone

__all__ = ["add_deeplab_config", "build_lr_scheduler", "build_resnet_deeplab_backbone"]
