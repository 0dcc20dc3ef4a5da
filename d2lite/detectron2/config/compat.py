"""Older versions of the config format: what was renamed, and how to convert both ways.

Version 0 -> 1 and 1 -> 2 are lists of (old key, new key); version 2 also moved the anchor settings
of RPN and RetinaNet into one place.
"""

from __future__ import annotations

import logging
from typing import Any

from detectron2.config.config import CfgNode
from detectron2.config.defaults import _C

__all__ = ["downgrade_config", "upgrade_config"]


def _under(prefix: str, renames: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"{prefix}.{old}", new) for old, new in renames.items()]


# version -> keys renamed on the way to it from the version before
_RENAMES: dict[int, list[tuple[str, str]]] = {
    1: [("MODEL.RPN_HEAD.NAME", "MODEL.RPN.HEAD_NAME")],
    2: [
        ("MODEL.WEIGHT", "MODEL.WEIGHTS"),
        *_under(
            "MODEL.PANOPTIC_FPN",
            {
                "SEMANTIC_LOSS_SCALE": "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT",
                "RPN_LOSS_SCALE": "MODEL.RPN.LOSS_WEIGHT",
                "INSTANCE_LOSS_SCALE": "MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT",
                "COMBINE_ON": "MODEL.PANOPTIC_FPN.COMBINE.ENABLED",
                "COMBINE_OVERLAP_THRESHOLD": "MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH",
                "COMBINE_STUFF_AREA_LIMIT": "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT",
                "COMBINE_INSTANCES_CONFIDENCE_THRESHOLD": (
                    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH"
                ),
            },
        ),
        ("MODEL.ROI_HEADS.SCORE_THRESH", "MODEL.ROI_HEADS.SCORE_THRESH_TEST"),
        ("MODEL.ROI_HEADS.NMS", "MODEL.ROI_HEADS.NMS_THRESH_TEST"),
        *_under(
            "MODEL.RETINANET",
            {
                "INFERENCE_SCORE_THRESHOLD": "MODEL.RETINANET.SCORE_THRESH_TEST",
                "INFERENCE_TOPK_CANDIDATES": "MODEL.RETINANET.TOPK_CANDIDATES_TEST",
                "INFERENCE_NMS_THRESHOLD": "MODEL.RETINANET.NMS_THRESH_TEST",
            },
        ),
        ("TEST.DETECTIONS_PER_IMG", "TEST.DETECTIONS_PER_IMAGE"),
        ("TEST.AUG_ON", "TEST.AUG.ENABLED"),
        ("TEST.AUG_MIN_SIZES", "TEST.AUG.MIN_SIZES"),
        ("TEST.AUG_MAX_SIZE", "TEST.AUG.MAX_SIZE"),
        ("TEST.AUG_FLIP", "TEST.AUG.FLIP"),
    ],
}
_ANCHOR_KEYS = {"ANCHOR_ASPECT_RATIOS": "ASPECT_RATIOS", "ANCHOR_SIZES": "SIZES"}
_ONLY_IN_V1 = ("MODEL.WEIGHT", "TEST.AUG_ON")


def upgrade_config(cfg: CfgNode, to_version: int | None = None) -> CfgNode:
    """Return a complete config converted to a newer version, by default the latest."""
    cfg = cfg.clone()
    to_version = _C.VERSION if to_version is None else to_version
    assert to_version >= cfg.VERSION, f"cannot upgrade from {cfg.VERSION} to {to_version}"
    while to_version > cfg.VERSION:
        target = cfg.VERSION + 1
        for old, new in _RENAMES[target]:
            _rename(cfg, old, new)
        if target == 2:
            _join_anchor_settings(cfg)
        cfg.VERSION = target
    return cfg


def downgrade_config(cfg: CfgNode, to_version: int) -> CfgNode:
    """Return a complete config in an older version, for an old partial file to be merged into."""
    cfg = cfg.clone()
    assert to_version <= cfg.VERSION, f"cannot downgrade from {cfg.VERSION} to {to_version}"
    while to_version < cfg.VERSION:
        for old, new in reversed(_RENAMES[cfg.VERSION]):
            _rename(cfg, new, old)
        if cfg.VERSION == 2:
            _split_anchor_settings(cfg)
        cfg.VERSION -= 1
    return cfg


def guess_version(cfg: CfgNode, filename: str) -> int:
    """Guess the version of a partial config that does not say; the latest unless it looks old."""
    version = 1 if any(_has(cfg, key) for key in _ONLY_IN_V1) else _C.VERSION
    logging.getLogger(__name__).warning(
        f"Config '{filename}' has no VERSION: taking it as version {version} (latest {_C.VERSION})"
    )
    return version


def _join_anchor_settings(cfg: CfgNode) -> None:
    users = ["RETINANET", "RPN"]
    if cfg.MODEL.META_ARCHITECTURE != "RetinaNet":
        users.reverse()
    user, other = users
    for old, new in _ANCHOR_KEYS.items():
        _rename(cfg, f"MODEL.{user}.{old}", f"MODEL.ANCHOR_GENERATOR.{new}")
        del cfg.MODEL[other][old]
    del cfg.MODEL.RETINANET["ANCHOR_STRIDES"]


def _split_anchor_settings(cfg: CfgNode) -> None:
    for old, new in _ANCHOR_KEYS.items():
        _rename(cfg, f"MODEL.ANCHOR_GENERATOR.{new}", f"MODEL.RPN.{old}")
        cfg.MODEL.RETINANET[old] = cfg.MODEL.RPN[old]
    cfg.MODEL.RETINANET.ANCHOR_STRIDES = []


def _has(cfg: CfgNode, key: str) -> bool:
    node: Any = cfg
    for part in key.split("."):
        if part not in node:
            return False
        node = node[part]
    return True


def _rename(cfg: CfgNode, old: str, new: str) -> None:
    """Move a value to another dotted key; makes missing sections, drops sections left empty."""
    *old_sections, old_leaf = old.split(".")
    *new_sections, new_leaf = new.split(".")
    path = [cfg]
    for section in old_sections:
        path.append(path[-1][section])
    target = cfg
    for section in new_sections:
        if section not in target:
            target[section] = CfgNode()
        target = target[section]
    target[new_leaf] = path[-1][old_leaf]
    del path[-1][old_leaf]
    for parent, section, node in zip(path[-2::-1], old_sections[::-1], path[:0:-1]):
        if len(node) > 0:
            break
        del parent[section]
