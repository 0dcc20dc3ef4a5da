"""Lets torchvision's Python parts load beside a PyTorch build its C library was not made for.

PyPI's torchvision carries a CUDA build of its C library. Beside a CPU-only PyTorch that library
does not load, and ``import torchvision`` then fails with "operator torchvision::nms does not
exist". open_clip and timm need only the Python parts (transforms), so the two operator schemas
that torchvision registers fake kernels for are declared here, once, and only when missing.

They are declared when somebody imports torchvision, which takes seconds and is not always needed.
Whether they are missing is torchvision's own loader's to find out, and PyTorch's dispatcher's to
say: the library's file has had several names, and a second declaration of an operator that it
declares too would abort the process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
_libraries: list[torch.library.Library] = []  # a library's operators live as long as the object


def allow_import_without_c_library() -> None:
    """From now on ``import torchvision`` succeeds where its C library alone is missing.

    Calling a placeholder raises PyTorch's own "could not run" error: nothing pretends to work. What
    torchvision says of a library that loads and does not fit, for example of another CUDA version,
    is told as before.
    """
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds torchvision as Python does, and lets it load a second time."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.loader is not None:
            found.loader = _SecondTry(found.loader)
        return found


class _SecondTry(Loader):
    """Executes a module again after the operators that it missed are declared."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        try:
            self.loader.exec_module(module)
        except RuntimeError:
            if all(hasattr(torch.ops.torchvision, name) for name in _OPERATORS):
                raise
            _declare_missing()
            self.loader.exec_module(module)


def _declare_missing() -> None:
    """Declares the operators that the dispatcher does not know, now that no library will."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SCHEMA)
    _libraries.append(library)
