"""Registry of backbones and the function that builds the configured one."""

from __future__ import annotations

from detectron2.layers import ShapeSpec
from detectron2.utils.registry import Registry

from .backbone import Backbone

BACKBONE_REGISTRY = Registry("BACKBONE")
BACKBONE_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape: ShapeSpec) -> Backbone``, found by ``cfg.MODEL.BACKBONE.NAME``.
"""


def build_backbone(cfg, input_shape=None):
    """Build the backbone named by ``cfg.MODEL.BACKBONE.NAME``.

    Args:
        cfg: the full config.
        input_shape: a ShapeSpec; by default it has as many channels as ``cfg.MODEL.PIXEL_MEAN``.
    """
    if input_shape is None:
        input_shape = ShapeSpec(channels=len(cfg.MODEL.PIXEL_MEAN))
    builder = BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)
    backbone = builder(cfg, input_shape)
    assert isinstance(backbone, Backbone), f"{builder} built {type(backbone)}, not a Backbone"
    return backbone
