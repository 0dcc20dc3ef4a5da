"""Lets torchvision's Python parts load beside a PyTorch build its C library was not made for.

PyPI's torchvision carries a CUDA build of its C library. Beside a CPU-only PyTorch that library
does not load, and ``import torchvision`` then fails with "operator torchvision::nms does not
exist". open_clip and timm need only the Python parts (transforms), so the two operator schemas
that torchvision registers fake kernels for are declared here, once, and only when missing.

Whether they are missing is torchvision's own loader's to find out, and PyTorch's dispatcher's to
say: the library's file has had several names, and a second declaration of an operator that it
declares too would abort the process.
"""

from __future__ import annotations

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
_libraries: list[torch.library.Library] = []  # a library's operators live as long as the object


def allow_import_without_c_library() -> bool:
    """Imports torchvision; returns True when placeholders had to be declared for that.

    Calling a placeholder raises PyTorch's own "could not run" error: nothing pretends to work.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: What torchvision says of a library that loads and does not fit, for example
            of another CUDA version.
    """
    try:
        import torchvision
    except RuntimeError:
        if all(hasattr(torch.ops.torchvision, name) for name in _OPERATORS):
            raise
        _declare_missing()
        import torchvision  # noqa: F401

        return True
    return False


def _declare_missing() -> None:
    """Declares the operators that the dispatcher does not know, now that no library will."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SCHEMA)
    _libraries.append(library)
