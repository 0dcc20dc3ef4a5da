"""Packages that call what numpy has no more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


@contextlib.contextmanager
def older_numpy(script: Any, **names: Any) -> Iterator[None]:
    """Gives a module, as its `np`, a numpy that also has these names, and takes it back."""
    current, script.np = script.np, SimpleNamespace(**{**vars(np), **names})
    try:
        yield
    finally:
        script.np = current
