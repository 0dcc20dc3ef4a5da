"""Registry of proposal generators and the function that builds the configured one."""

from __future__ import annotations

from detectron2.utils.registry import Registry

PROPOSAL_GENERATOR_REGISTRY = Registry("PROPOSAL_GENERATOR")
PROPOSAL_GENERATOR_REGISTRY.__doc__ = """
Callables ``(cfg, input_shape) -> Module``: object proposals from feature maps.
"""


def build_proposal_generator(cfg, input_shape):
    """Build what ``cfg.MODEL.PROPOSAL_GENERATOR.NAME`` names; None for PrecomputedProposals."""
    name = cfg.MODEL.PROPOSAL_GENERATOR.NAME
    if name == "PrecomputedProposals":
        return None
    return PROPOSAL_GENERATOR_REGISTRY.get(name)(cfg, input_shape)
