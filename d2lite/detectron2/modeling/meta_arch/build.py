"""Registry of whole models and the function that builds the configured one."""

from __future__ import annotations

import torch

from detectron2.utils.registry import Registry

META_ARCH_REGISTRY = Registry("META_ARCH")
META_ARCH_REGISTRY.__doc__ = """
Callables ``(cfg) -> nn.Module``, found by ``cfg.MODEL.META_ARCHITECTURE``.
"""


def build_model(cfg):
    """Build ``cfg.MODEL.META_ARCHITECTURE`` on ``cfg.MODEL.DEVICE``, without loading weights."""
    model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
    model.to(torch.device(cfg.MODEL.DEVICE))
    return model
