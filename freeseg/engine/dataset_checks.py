"""Checks datasets before anything is computed: all that is wrong with them, in one list."""

from __future__ import annotations

from typing import Any


def check_datasets(cfg: Any, *, is_training: bool = True) -> None:
    """Placeholder"""
