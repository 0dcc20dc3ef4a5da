"""`freeseg doctor`: versions, Detectron2, the operator, the GPU, and what to do about problems."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import torch

from freeseg import __version__
from freeseg.data.datasets.roots import datasets_root
from freeseg.ops import available
from freeseg.ops.implementations import VARIABLE, choose
from freeseg.zoo import DownloadError, load_catalog, local_weights
from freeseg_command.cache import cache_root
from freeseg_command.start import NOTE, OK, PROBLEM, Finding, examine_torchvision, report

_PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "numpy",
    "opencv-python-headless",
    "av",
)
_BUILD = "install g++ (and nvcc for a GPU), then python -m freeseg.ops.build"
_EXTRAS = {
    "transformers": "the text encoders minilm and bert: pip install 'freeseg[minilm]'",
    "fastapi": "the web demo: pip install 'freeseg[web]'",
    "supervision": "Segmentation.to_supervision: pip install 'freeseg[supervision]'",
    "diffusers": "freeseg edit --replace: pip install 'freeseg[diffusers]'",
    "shtab": "shell completion: pip install 'freeseg[completion]'",
}


def run(args: argparse.Namespace) -> int:
    """Prints the findings; the exit code says whether there is a problem."""
    return report(list(examine()), as_json=args.json)


def examine() -> Iterator[Finding]:
    """Looks at everything, one finding each."""
    for check in _CHECKS:
        yield from check()


def _versions() -> Iterator[Finding]:
    yield Finding("freeseg", OK, f"{__version__} in {Path(__file__).resolve().parents[1]}")
    yield Finding("python", OK, f"{platform.python_version()} on {platform.platform()}")
    for package in _PACKAGES:
        version = _version_of(package)
        if version is None and package == "opencv-python-headless":
            version = _version_of("opencv-python")
        if version is None:
            yield Finding(package, PROBLEM, "is not installed", f"pip install {package}")
        else:
            yield Finding(package, OK, version)


def _torchvision() -> Iterator[Finding]:
    yield examine_torchvision()


def _detectron2() -> Iterator[Finding]:
    import detectron2

    version, where = detectron2.__version__, Path(detectron2.__file__).parent
    kind = "d2lite, this project's own" if version.endswith("+lite") else "the real one"
    yield Finding("detectron2", OK, f"{version} ({kind}) in {where}")


def _operator() -> Iterator[Finding]:
    for name, state in available().items():
        yield Finding(f"ms_deform_attn {name}", OK if state.is_usable else NOTE, state.reason)
    for device_type in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        yield _operator_on(device_type)


def _operator_on(device_type: str) -> Finding:
    """Which implementation runs on a device, and why that one."""
    name, forced = f"ms_deform_attn on {device_type}", os.environ.get(VARIABLE)
    try:
        used = choose(torch.device(device_type)).name
    except (RuntimeError, ValueError) as error:
        return Finding(name, PROBLEM, str(error), f"unset {VARIABLE}")
    if forced:
        return Finding(name, OK, f"{used} is used: {VARIABLE} asks for it")
    if used == "reference":
        return Finding(name, NOTE, "reference, which is slow, is used: no other can run", _BUILD)
    return Finding(name, OK, f"{used} is used: the fastest that can run")


def _devices() -> Iterator[Finding]:
    yield Finding("cpu", OK, f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in use")
    if not torch.cuda.is_available():
        detail = "none that PyTorch can use: models run on the CPU"
        if torch.version.cuda:
            advice = "of an NVIDIA GPU, check the driver with nvidia-smi"
        else:
            detail += "; this PyTorch is built without CUDA"
            advice = "for an NVIDIA GPU, install another: https://pytorch.org/get-started/locally"
        yield Finding("gpu", NOTE, detail, advice)
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        size = properties.total_memory / 2**30
        yield Finding(f"cuda:{index}", OK, f"{properties.name}, {size:.0f} GiB")


def _folders() -> Iterator[Finding]:
    root = cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        is_writable = os.access(root, os.W_OK)
    except OSError:
        is_writable = False
    if is_writable:
        yield Finding("cache", OK, str(root))
    else:
        yield Finding("cache", PROBLEM, f"{root} cannot be written", "set FREESEG_CACHE")
    datasets = datasets_root()
    if datasets.is_dir():
        yield Finding("datasets", OK, str(datasets.resolve()))
    else:
        yield Finding(
            "datasets",
            NOTE,
            f"{datasets} is no folder (needed for training and evaluation only)",
            "make that folder, or set DETECTRON2_DATASETS to another (`freeseg prepare --help`)",
        )


def _bundled_models() -> Iterator[Finding]:
    for card in load_catalog().values():
        if not card.is_bundled:
            continue
        try:
            yield Finding(f"model {card.name}", OK, str(local_weights(card.weights)))
        except (DownloadError, FileNotFoundError) as error:
            advice = "install freeseg again, or fetch the repository with its large files"
            yield Finding(f"model {card.name}", PROBLEM, str(error), advice)


def _extras() -> Iterator[Finding]:
    for package, use in _EXTRAS.items():
        version = _version_of(package)
        if version is None:
            yield Finding(package, NOTE, "is not installed", use)
        else:
            yield Finding(package, OK, version)


def _version_of(package: str) -> str | None:
    if sys.modules.get(package, "") is None:  # its import is forbidden
        return None
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _versions,
    _torchvision,
    _detectron2,
    _operator,
    _devices,
    _folders,
    _bundled_models,
    _extras,
)
