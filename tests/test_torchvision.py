"""torchvision beside any PyTorch: stand-ins of it, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import detectron2

ROOT = Path(__file__).resolve().parents[1]
# The file alone: the whole package would need a whole torchvision.
PROGRAM = f"""
import importlib.machinery, importlib.util, runpy, torch
allow = runpy.run_path({str(ROOT / "freeseg/_torchvision.py")!r})["allow_import_without_c_library"]
allow()
try:
    assert importlib.util.find_spec("torchvision").origin.endswith("__init__.py")
    import torchvision
    assert isinstance(torchvision.__spec__.loader, importlib.machinery.SourceFileLoader)
    print("part:", torchvision.part)
    print("nms:", torch.ops.torchvision.nms(torch.zeros(1, 4), torch.ones(1), 0.5).tolist())
except Exception as error:
    print(type(error).__name__, str(error).splitlines()[0])
"""
SCHEMA = '"nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"'
# What a library that loads does, whatever the name of its file; from Python, declaring an operator
# twice is a RuntimeError where C++ aborts.
LIBRARY = f"""
import torch
library = torch.library.Library("torchvision", "DEF")
library.define({SCHEMA})
library.define({SCHEMA.replace("nms", "qnms")})
library.impl("nms", lambda dets, scores, iou_threshold: scores.argsort(), "CPU")
"""
FAKE_KERNELS = """
import torch
for operator in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{operator}")(lambda dets, *others: dets)
"""


def what_happens(folder: Path, source: str) -> list[str]:
    """The lines that the program prints beside a torchvision of that source."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision/__init__.py").write_text(source + "\npart = 'transforms'\n")
    (folder / "program.py").write_text(PROGRAM)  # its folder comes first in sys.path
    child = subprocess.run([sys.executable, "program.py"], cwd=folder, capture_output=True)
    assert child.returncode == 0, child.stderr.decode()
    return child.stdout.decode().splitlines()


def test_operators_that_exist_are_not_declared_again(tmp_path):
    lines = what_happens(tmp_path, LIBRARY + FAKE_KERNELS)
    assert lines == ["part: transforms", "nms: [0]"]


def test_a_library_that_does_not_load_leaves_the_python_parts(tmp_path):
    part, nms = what_happens(tmp_path, FAKE_KERNELS)
    assert part == "part: transforms"
    assert nms.startswith("NotImplementedError Could not run 'torchvision::nms'")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (LIBRARY + "raise RuntimeError('another CUDA')", "RuntimeError another CUDA"),
        ("raise RuntimeError('something else')", "RuntimeError something else"),
        ("import no_such_package", "ModuleNotFoundError No module named 'no_such_package'"),
    ],
    ids=["library that does not fit", "not for want of operators", "without a dependency"],
)
def test_what_is_wrong_with_torchvision_is_said(tmp_path, source, said):
    assert what_happens(tmp_path, source) == [said]


def test_importing_the_package_imports_neither_torchvision_nor_timm():
    heavy = {"timm", "scipy.optimize", "scipy.ndimage"}
    if detectron2.__version__.endswith("+lite"):  # the real one imports torchvision
        heavy |= {"torchvision", "torch._dynamo"}
    program = f"import sys, freeseg; print({heavy} & set(sys.modules))"
    child = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert child.stdout.decode().strip() == "set()", child.stderr.decode()
