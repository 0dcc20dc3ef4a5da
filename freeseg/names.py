"""Names of components in registries that other projects fill too.

Detectron2's registries are shared by all that is imported. Ours stand there as
``freeseg.MaskFormer``; what releases write, ``MaskFormer``, may be another project's. Whoever has
registered such a name keeps it, but inside a model of ours it means our part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from fvcore.common.registry import Registry

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY
from detectron2.modeling import build_model as build_registered

PREFIX = "freeseg."

logger = logging.getLogger(__name__)

_own: list[tuple[Registry, str, Any]] = []


def register(registry: Registry) -> Callable[[Any], Any]:
    """Decorates a component: puts it into a registry under its name behind `PREFIX`."""

    def add(component: Any) -> Any:
        registry._do_register(PREFIX + component.__name__, component)
        _own.append((registry, component.__name__, component))
        return component

    return add


def plain_name(name: str) -> str:
    """A component's name as releases write it."""
    return name[len(PREFIX) :] if name.startswith(PREFIX) else name


def own_name(registry: Registry, name: str) -> str:
    """The name that is ours for sure, where we have such a component; else as it is."""
    return PREFIX + name if PREFIX + name in registry else name


def own_component(registry: Registry, name: str) -> Any:
    """What a name means inside a model of ours.

    Raises:
        KeyError: Nobody has it.
    """
    return registry.get(own_name(registry, name))


def registered(registry: Registry, name: str) -> Any:
    """What a registry holds under a name, ours where nobody has taken it, else None."""
    held = name if name in registry else own_name(registry, name)
    return registry.get(held) if held in registry else None


def with_own_names(cfg: CfgNode) -> CfgNode:
    """A configuration whose names of components are ours, where we have them."""
    own = cfg.clone()
    own.defrost()
    model = own.MODEL
    model.META_ARCHITECTURE = own_name(META_ARCH_REGISTRY, model.META_ARCHITECTURE)
    model.BACKBONE.NAME = own_name(BACKBONE_REGISTRY, model.BACKBONE.NAME)
    model.SEM_SEG_HEAD.NAME = own_name(SEM_SEG_HEADS_REGISTRY, model.SEM_SEG_HEAD.NAME)
    own.freeze()
    return own


def build_model(cfg: CfgNode) -> Any:
    """Builds the model that MODEL.META_ARCHITECTURE names, as Detectron2's function does.

    A name of the releases is ours where nobody has registered it; else it is theirs, which is said,
    and ours is called ``freeseg.MaskFormer``.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    own, holder = PREFIX + name, registered(META_ARCH_REGISTRY, name)
    if own in META_ARCH_REGISTRY:
        if holder is META_ARCH_REGISTRY.get(own):
            cfg = with_own_names(cfg)
        else:
            logger.warning("%s is built as %s has it; ours is %s", name, holder.__module__, own)
    return build_registered(cfg)


def take_component_names() -> Iterator[tuple[str, str]]:
    """Puts our components under the names of releases, where these are free.

    Yields:
        Each name that is taken, and the module that has it.
    """
    for registry, name, component in _own:
        holder = registry.get(name) if name in registry else None
        if holder is None:
            registry._do_register(name, component)
        elif holder is not component:
            yield name, str(holder.__module__)
