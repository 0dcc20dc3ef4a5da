"""Lets torchvision's Python parts load beside a PyTorch build its C library was not made for.

PyPI's torchvision carries a CUDA build of its C library. Beside a CPU-only PyTorch that library
does not load, and ``import torchvision`` then fails with "operator torchvision::nms does not
exist". open_clip and timm need only the Python parts (transforms), so the two operator schemas
that torchvision registers fake kernels for are declared here, once, and only when missing.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
_libraries: list[torch.library.Library] = []  # a library's operators live as long as the object


def allow_import_without_c_library() -> bool:
    """Makes ``import torchvision`` work; returns True when placeholders had to be declared.

    Calling a placeholder raises PyTorch's own "could not run" error: nothing pretends to work.
    """
    if hasattr(torch.ops.torchvision, "nms") or _c_library_loads():
        return False
    library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        library.define(name + _SCHEMA)
    _libraries.append(library)
    return True


def _c_library_loads() -> bool:
    """True when torchvision is absent (nothing to mend) or its C library can be loaded."""
    package = importlib.util.find_spec("torchvision")
    if package is None or not package.submodule_search_locations:
        return True
    finder = importlib.machinery.PathFinder.find_spec(
        "_C", list(package.submodule_search_locations)
    )
    if finder is None or finder.origin is None:
        return False
    try:
        torch.ops.load_library(finder.origin)
    except OSError:
        return False
    return True
