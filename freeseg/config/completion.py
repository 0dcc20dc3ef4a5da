"""The keys of this package: added to a configuration, or to a copy that lacks some."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.projects.deeplab import add_deeplab_config
from freeseg.config.keys import (
    add_backbone_keys,
    add_context_keys,
    add_engine_keys,
    add_input_keys,
    add_mask_former_keys,
    add_solver_keys,
    add_test_keys,
    add_text_keys,
    add_vit_keys,
)
from freeseg.config.unused import add_unused_keys

AddKeys = Callable[[CfgNode], None]

_of_systems: list[AddKeys] = []


def register_keys(add: AddKeys) -> None:
    """Makes the keys of a system a part of every configuration.

    Args:
        add: Adds them to a CfgNode that has Detectron2's and the trunk's keys, and those of the
            systems before.
    """
    _of_systems.append(add)
    _defaults.cache_clear()


def add_freeseg_config(cfg: CfgNode) -> None:
    """Adds the keys of this package that a Detectron2 configuration lacks, in place.

    What it has keeps its value and type, so that other projects' keys may be added before or after.

    Raises:
        AttributeError: It lacks keys and is frozen.
    """
    for node, key, default in list(_absent(cfg, _defaults())):
        value = copy.deepcopy(default)
        if isinstance(value, CfgNode):
            value.set_new_allowed(node.is_new_allowed())
        setattr(node, key, value)


def completed(cfg: CfgNode) -> CfgNode:
    """The configuration itself, or a copy with the keys of this package that it lacks.

    It lacks some where a project was added after this package that makes sections of them anew.
    """
    if next(_absent(cfg, _defaults()), None) is None:
        return cfg
    copied = cfg.clone()
    copied.defrost()
    add_freeseg_config(copied)
    if cfg.is_frozen():
        copied.freeze()
    return copied


def _absent(node: CfgNode, defaults: CfgNode) -> Iterator[tuple[CfgNode, str, Any]]:
    """Sections of a configuration, and the keys that they lack with their defaults."""
    for key, default in defaults.items():
        if key not in node:
            yield node, key, default
        elif isinstance(default, dict) and isinstance(node[key], dict):
            yield from _absent(node[key], default)


@functools.cache
def _defaults() -> CfgNode:
    cfg = get_cfg()
    add_deeplab_config(cfg)
    add_input_keys(cfg)
    add_context_keys(cfg)
    add_solver_keys(cfg)
    add_mask_former_keys(cfg)
    add_backbone_keys(cfg)
    add_vit_keys(cfg)
    add_engine_keys(cfg)
    add_text_keys(cfg)
    add_test_keys(cfg)
    for add in _of_systems:
        add(cfg)
    add_unused_keys(cfg)
    return cfg
