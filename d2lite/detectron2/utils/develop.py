"""Stand-ins for classes and functions whose optional dependency is not installed."""

from __future__ import annotations

from typing import Any


def _explain(name: str, dependency: str, message: str) -> str:
    reason = f"Cannot import '{dependency}', therefore '{name}' is not available."
    return f"{reason} {message}" if message else reason


def create_dummy_class(klass: str, dependency: str, message: str = "") -> type:
    """Return a class that raises ImportError when instantiated or when an attribute is read."""
    reason = _explain(klass, dependency, message)

    class _Refusing(type):
        def __getattr__(cls, name: str) -> Any:
            raise ImportError(reason)

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            raise ImportError(reason)

    return _Refusing(klass, (), {})


def create_dummy_func(func: str, dependency: Any, message: str = "") -> Any:
    """Return a function that raises ImportError when called."""
    names = ",".join(dependency) if isinstance(dependency, (list, tuple)) else dependency
    reason = _explain(func, names, message)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ImportError(reason)

    return refuse
