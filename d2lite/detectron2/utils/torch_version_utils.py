"""Asks for the installed torch version."""

from __future__ import annotations

from packaging import version


def min_torch_version(min_version: str) -> bool:
    """Whether torch is installed in at least this version, local suffix ignored."""
    try:
        import torch
    except ImportError:
        return False
    installed = torch.__version__.partition("+")[0]
    return version.parse(installed) >= version.parse(min_version)
