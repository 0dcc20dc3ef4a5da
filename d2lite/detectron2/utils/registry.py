"""Maps from names, as written in config files, to Python objects and back."""

from __future__ import annotations

import pydoc
from typing import Any

import fvcore.common.registry

from detectron2._missing import UPSTREAM, missing

__all__ = ["Registry", "locate"]


class Registry(fvcore.common.registry.Registry):
    """fvcore's, which also says what only upstream registers."""

    def get(self, name: str) -> Any:
        if name not in self and name in UPSTREAM["registries"].get(self._name, ()):
            raise missing(f"{name} of the registry {self._name}")
        return super().get(name)


def locate(name: str) -> Any:
    """Import and return the object with this dotted name; raises ImportError when there is none."""
    found = pydoc.locate(name)
    if found is not None:
        return found
    # unlike pydoc, hydra copes with an attribute that hides a submodule (torch.optim.sgd.SGD)
    try:
        from hydra.utils import _locate as locate_in_shadowed_package
    except ImportError as error:
        raise ImportError(f"Cannot dynamically locate object {name}!") from error
    return locate_in_shadowed_package(name)


def _convert_target_to_string(t: Any) -> str:
    """Return the shortest dotted name by which `locate` finds `t` again."""
    packages = t.__module__.split(".")
    for depth in range(1, len(packages)):
        shorter = ".".join([*packages[:depth], t.__qualname__])
        try:
            if locate(shorter) is t:
                return shorter
        except ImportError:
            continue
    return f"{t.__module__}.{t.__qualname__}"
