"""Grounded-SAM's keys, and their translation into parts; see `freeseg.config`."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from freeseg.names import build_model


def add_grounded_sam_keys(cfg: CfgNode) -> None:
    """Adds the section of the composition."""
    cfg.MODEL.GROUNDED_SAM = node = CfgNode()
    node.GROUNDER = ""  # configuration file of a system that answers words with boxes
    node.SEGMENTER = ""  # of one that takes boxes; weights are those that the files name
    node.MIN_SCORE = 0.3  # of boxes of a class list
    node.MAX_OVERLAP = 0.8  # of two boxes; 1.0: all stay
    node.PER_CLASS = False  # boxes of different classes may lie on each other


def grounded_sam_parts(cfg: CfgNode) -> dict[str, Any]:
    """The arguments of the system.

    Raises:
        ValueError: A part is not named.
        FileNotFoundError: There is no such file.
    """
    node = cfg.MODEL.GROUNDED_SAM
    parts: dict[str, Any] = {}
    for name, source in (("grounder", node.GROUNDER), ("segmenter", node.SEGMENTER)):
        if not source:
            raise ValueError(f"MODEL.GROUNDED_SAM.{name.upper()} names no configuration file")
        parts[name] = _built(source, cfg.MODEL.DEVICE)
    return {**parts, **box_rules(cfg)}


def box_rules(cfg: CfgNode) -> dict[str, Any]:
    """The arguments of the system that say which boxes go on."""
    node = cfg.MODEL.GROUNDED_SAM
    return {
        "min_score": node.MIN_SCORE,
        "max_overlap": node.MAX_OVERLAP if node.MAX_OVERLAP < 1 else None,
        "per_class": node.PER_CLASS,
    }


def _built(source: str, device: str) -> Any:
    """A system with the weights that its configuration names, if any."""
    from freeseg.systems.building import load_weights, read_config  # which knows all systems

    cfg = read_config(source, None, device, ())
    model = build_model(cfg)
    if cfg.MODEL.WEIGHTS:
        load_weights(model, cfg.MODEL.WEIGHTS)
    return model
