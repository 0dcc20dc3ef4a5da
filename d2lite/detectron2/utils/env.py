"""Process-wide set-up: random seeds, library switches, a user's own environment module.

torch is imported when first needed, which keeps `import detectron2` cheap.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import random
import sys
import time
from importlib.metadata import version
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["seed_all_rng"]

TORCH_VERSION = tuple(int(part) for part in version("torch").split(".")[:2])
DOC_BUILDING = os.getenv("_DOC_BUILDING", False)

_environment_is_ready = False


def seed_all_rng(seed: int | None = None) -> None:
    """Seed torch (all devices), numpy and random; None draws a seed and logs it."""
    import torch

    if seed is None:
        clock = time.localtime().tm_sec * 10**6 + time.time_ns() // 1000 % 10**6
        seed = os.getpid() + clock + int.from_bytes(os.urandom(2), "big")
        logging.getLogger(__name__).info(f"Using a generated random seed {seed}")
    for seed_one in (np.random.seed, torch.manual_seed, random.seed, torch.cuda.manual_seed_all):
        seed_one(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)


def setup_environment() -> None:
    """Apply library switches and `$DETECTRON2_ENV_MODULE` once; later calls do nothing."""
    global _environment_is_ready
    if _environment_is_ready:
        return
    _environment_is_ready = True
    _configure_opencv()
    custom = os.environ.get("DETECTRON2_ENV_MODULE")
    if custom:
        setup_custom_environment(custom)


def setup_custom_environment(custom_module: str) -> None:
    """Import a module (dotted name or a .py path) and run its `setup_environment()`."""
    if custom_module.endswith(".py"):
        module = _import_file("detectron2.utils.env.custom_module", custom_module)
    else:
        module = importlib.import_module(custom_module)
    entry = getattr(module, "setup_environment", None)
    assert callable(entry), f"{custom_module} must define a function 'setup_environment'"
    entry()


def fixup_module_metadata(module_name: str, namespace: dict, keys: Any = None) -> None:
    """Do nothing; upstream rewrites module names here while it builds its own documentation."""


def _import_file(module_name: str, file_path: str, make_importable: bool = False) -> ModuleType:
    specification = importlib.util.spec_from_file_location(module_name, file_path)
    imported = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(imported)
    if make_importable:
        sys.modules[module_name] = imported
    return imported


def _configure_opencv() -> None:
    """Hide cv2 if `$DETECTRON2_DISABLE_CV2`, else keep OpenCL (which upsets CUDA) out of it."""
    if int(os.environ.get("DETECTRON2_DISABLE_CV2", "0")):
        sys.modules["cv2"] = None
        return
    os.environ["OPENCV_OPENCL_RUNTIME"] = "disabled"  # read by cv2 when it is imported later
    if sys.modules.get("cv2") is not None:
        sys.modules["cv2"].ocl.setUseOpenCL(False)
