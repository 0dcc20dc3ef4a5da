"""Pickles what plain pickle cannot, such as closures."""

from __future__ import annotations

from typing import Any

import cloudpickle


class PicklableWrapper:
    """Behaves as the wrapped object and pickles it by value; wrapping twice is wrapping once."""

    def __init__(self, obj: Any):
        self._obj = obj._obj if isinstance(obj, PicklableWrapper) else obj

    def __reduce__(self):
        return cloudpickle.loads, (cloudpickle.dumps(self._obj),)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._obj(*args, **kwargs)

    def __getattr__(self, attr: str) -> Any:
        if attr == "_obj":  # not there yet: copy and pickle ask before __init__ has run
            raise AttributeError(attr)
        return getattr(self._obj, attr)
