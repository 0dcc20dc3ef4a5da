"""Where the releases keep a system's keys: which sections a head's configurations have."""

from __future__ import annotations

from detectron2.config import CfgNode
from freeseg.config.completion import completed

# head -> section of MODEL with the query decoder and its losses, section of MODEL with inference
_SECTIONS: dict[str, tuple[str, str]] = {}
_USUAL = ("MASK_FORMER", "MASK_FORMER.TEST")


def register_sections(head: str, system: str, test: str) -> None:
    """Says in which sections of MODEL the keys of a head's system are, where not in MASK_FORMER.

    Args:
        head: MODEL.SEM_SEG_HEAD.NAME as releases write it; ours, ``freeseg.NAME``, is the same.
        system: With the query decoder and its losses.
        test: With the keys of inference.
    """
    _SECTIONS[head] = _SECTIONS[f"freeseg.{head}"] = (system, test)


def system_section(cfg: CfgNode) -> CfgNode:
    """The section of the query decoder and its losses, such as MODEL.MASK_FORMER."""
    return _section(cfg, 0)


def inference_section(cfg: CfgNode) -> CfgNode:
    """The section of inference, such as MODEL.MASK_FORMER.TEST."""
    return _section(cfg, 1)


def _section(cfg: CfgNode, which: int) -> CfgNode:
    node = completed(cfg).MODEL
    for key in _SECTIONS.get(node.SEM_SEG_HEAD.NAME, _USUAL)[which].split("."):
        node = node[key]
    return node
