"""Registry of anchor generators; the generators themselves are in the real package."""

from __future__ import annotations

from detectron2._missing import missing
from detectron2.utils.registry import Registry

ANCHOR_GENERATOR_REGISTRY = Registry("ANCHOR_GENERATOR")
ANCHOR_GENERATOR_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: anchor boxes for feature maps.
"""

DefaultAnchorGenerator = missing("detectron2.modeling.anchor_generator.DefaultAnchorGenerator")
RotatedAnchorGenerator = missing("detectron2.modeling.anchor_generator.RotatedAnchorGenerator")
ANCHOR_GENERATOR_REGISTRY.register(DefaultAnchorGenerator)
ANCHOR_GENERATOR_REGISTRY.register(RotatedAnchorGenerator)


def build_anchor_generator(cfg, input_shape):
    """Build what ``cfg.MODEL.ANCHOR_GENERATOR.NAME`` names."""
    return ANCHOR_GENERATOR_REGISTRY.get(cfg.MODEL.ANCHOR_GENERATOR.NAME)(cfg, input_shape)
