"""Registry of RPN heads; the region proposal network itself is in the real package."""

from __future__ import annotations

from detectron2._missing import missing
from detectron2.utils.registry import Registry

RPN_HEAD_REGISTRY = Registry("RPN_HEAD")
RPN_HEAD_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: objectness and box deltas of anchors.
"""

StandardRPNHead = missing("detectron2.modeling.proposal_generator.rpn.StandardRPNHead")
RPN = missing("detectron2.modeling.proposal_generator.rpn.RPN")
RPN_HEAD_REGISTRY.register(StandardRPNHead)


def build_rpn_head(cfg, input_shape):
    """Build what ``cfg.MODEL.RPN.HEAD_NAME`` names."""
    return RPN_HEAD_REGISTRY.get(cfg.MODEL.RPN.HEAD_NAME)(cfg, input_shape)
