"""Placeholders for names of the real Detectron2 that this distribution leaves out.

Importing such a name works, so that an extension which mentions it in passing still imports;
using it (calling, instantiating, reading an attribute) raises an error that names the real package.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Callable

INSTALL_REAL = (
    "install the real Detectron2, which replaces this package: "
    "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
)


class MissingFeatureError(NotImplementedError, AttributeError):
    """Raised by every placeholder; also an AttributeError, so that `hasattr` answers False."""


class _MissingType(type):
    """Makes attribute reads on a placeholder raise, e.g. `SOME_REGISTRY.register`."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _error(cls.__missing_name__)


def missing(qualified_name: str) -> Any:
    """Return a placeholder for `qualified_name` that may be imported or subclassed, never used."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise _error(qualified_name)

    module, _, name = qualified_name.rpartition(".")
    body = {
        "__module__": module,
        "__missing_name__": qualified_name,
        "__new__": refuse,
        "__doc__": f"Not provided here: {INSTALL_REAL}.",
    }
    return _MissingType(name, (), body)


def missing_names(module: str, names: Iterable[str]) -> Callable[[str], Any]:
    """Return a module-level `__getattr__` that serves placeholders for these upstream names."""
    known = frozenset(names)
    made: dict[str, Any] = {}

    def serve(name: str) -> Any:
        if name not in known:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if name not in made:
            made[name] = missing(f"{module}.{name}")
        return made[name]

    return serve


def _error(qualified_name: str) -> MissingFeatureError:
    return MissingFeatureError(
        f"{qualified_name} is not part of the pure-Python distribution of detectron2 "
        f"(0.6+lite); to use it, {INSTALL_REAL}"
    )
