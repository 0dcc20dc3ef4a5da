"""Describes the machine and the installed libraries, for logs and bug reports."""

from __future__ import annotations

import importlib
import os
import platform
import re
import subprocess
import sys
from importlib import metadata

import numpy as np
import torch
from tabulate import tabulate

__all__ = ["collect_env_info"]

_LIBRARIES = ("torchvision", "fvcore", "iopath", "cv2", "PIL", "pycocotools", "omegaconf")
_DISTRIBUTIONS = {"PIL": ["pillow"], "cv2": ["opencv-python-headless", "opencv-python"]}


def collect_env_info() -> str:
    """Return a table of versions and devices, followed by torch's build configuration."""
    import detectron2

    rows = [
        ("sys.platform", f"{sys.platform} ({platform.machine()})"),
        ("Python", sys.version.replace("\n", "")),
        ("numpy", np.__version__),
        ("detectron2", f"{detectron2.__version__} @{os.path.dirname(detectron2.__file__)}"),
        get_env_module(),
        ("PyTorch", f"{torch.__version__} @{os.path.dirname(torch.__file__)}"),
        ("PyTorch debug build", torch.version.debug),
        ("GPU available", torch.cuda.is_available()),
    ]
    rows.extend(_devices())
    rows.extend((name, _version(name)) for name in _LIBRARIES)
    return f"{tabulate(rows)}\n{collect_torch_env()}"


def collect_torch_env() -> str:
    return torch.__config__.show()


def get_env_module() -> tuple[str, str]:
    name = "DETECTRON2_ENV_MODULE"
    return name, os.environ.get(name, "<not set>")


def detect_compute_compatibility(CUDA_HOME: str | None, so_file: str) -> str:  # noqa: N803
    """Return the GPU architectures that a library was compiled for ("8.0, 9.0"), if known."""
    if CUDA_HOME is None:
        return so_file
    program = os.path.join(CUDA_HOME, "bin", "cuobjdump")
    if not os.path.isfile(program):
        return f"{so_file}; cannot find cuobjdump"
    done = subprocess.run([program, "--list-elf", so_file], capture_output=True, text=True)
    found = set(re.findall(r"\.sm_(\d+)(\d)", done.stdout))
    return ", ".join(f"{major}.{minor}" for major, minor in sorted(found)) or so_file


def test_nccl_ops() -> None:
    """Do nothing; upstream checks communication between GPUs here."""


def _devices() -> list[tuple[str, str]]:
    if not torch.cuda.is_available():
        return []
    numbers_by_name: dict[str, list[str]] = {}
    for number in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        name = f"{torch.cuda.get_device_name(number)} (arch={major}.{minor})"
        numbers_by_name.setdefault(name, []).append(str(number))
    return [(f"GPU {','.join(numbers)}", name) for name, numbers in numbers_by_name.items()]


def _version(module_name: str) -> str:
    """Return an installed version; without importing, as an import may be slow or fail."""
    if importlib.util.find_spec(module_name) is None:
        return "not installed"
    for distribution in _DISTRIBUTIONS.get(module_name, [module_name]):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "unknown version"


if __name__ == "__main__":
    sys.stdout.write(collect_env_info() + "\n")
