"""What the real Detectron2 has and this distribution leaves out.

`upstream_names.json` lists the public names of the real package, what it registers, and the
datasets that are not registered here. A module or name that is not here can still be
imported and subclassed, so that an extension which mentions it in passing works; using it (calling,
instantiating, reading an attribute, iterating) raises an error that says its name.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

UPSTREAM = json.loads(Path(__file__).with_name("upstream_names.json").read_text())
_MODULES: dict[str, list[str]] = UPSTREAM["modules"]
_INSTALL_REAL = (
    "install the real Detectron2, which replaces this package: "
    "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
)


class MissingFeatureError(NotImplementedError, AttributeError):
    """Only upstream has what was used; also an AttributeError, so that `hasattr` answers False."""


def missing(feature: str) -> MissingFeatureError:
    """Return the error that says that only upstream has a feature."""
    return MissingFeatureError(
        f"{feature} is not part of the pure-Python distribution of detectron2 (0.6+lite); "
        f"to use it, {_INSTALL_REAL}"
    )


class _Finder:
    """Finds upstream's modules: those that are here serve placeholders, too, others only these."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if name not in _MODULES or path is None:  # detectron2 itself
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None:
            is_package = any(module.startswith(f"{name}.") for module in _MODULES)
            return ModuleSpec(name, _AbsentLoader(), is_package=is_package)
        if isinstance(spec.loader, SourceFileLoader):
            spec.loader = _PresentLoader(spec.loader.name, spec.loader.path)
        return spec


class _PresentLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _add_placeholders(module)


class _AbsentLoader(Loader):
    def exec_module(self, module: ModuleType) -> None:
        module.__doc__ = f"Not provided here: {_INSTALL_REAL}."
        module.__all__ = []
        _add_placeholders(module)


def _add_placeholders(module: ModuleType) -> None:
    """Let a module that was executed serve a placeholder for each name which it lacks."""
    left_out = [name for name in _MODULES[module.__name__] if name not in vars(module)]
    if not left_out:
        return

    def serve(name: str) -> Any:
        if name in left_out:
            return _placeholder(_home(module.__name__, name), name)
        if f"{module.__name__}.{name}" in _MODULES:
            return import_module(f"{module.__name__}.{name}")
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = serve
    if "__all__" in vars(module):
        module.__all__ = [*module.__all__, *left_out]


def _home(module: str, name: str) -> str:
    """Return where a name that a package re-exports is defined: the innermost module with it."""
    inside = [m for m, names in _MODULES.items() if m.startswith(f"{module}.") and name in names]
    return max(inside, key=len, default=module)


class _Missing(type):
    """Type of the placeholders."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise missing(cls.__missing_name__)

    def _refuse(cls, *args: Any, **kwargs: Any) -> Any:
        raise missing(cls.__missing_name__)

    __call__ = __iter__ = __len__ = __bool__ = __contains__ = __getitem__ = _refuse
    __add__ = __radd__ = __mul__ = __rmul__ = __lt__ = __gt__ = _refuse  # some are numbers


@functools.cache
def _placeholder(module: str, name: str) -> _Missing:
    doc = f"Not provided here: {_INSTALL_REAL}."
    body = {"__module__": module, "__missing_name__": f"{module}.{name}", "__doc__": doc}
    return _Missing(name, (), body)


sys.meta_path.insert(0, _Finder)
