from __future__ import annotations

import ctypes
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from freeseg.ops import build, ms_deform_attn, ms_deform_attn_reference, native

ROOT = Path(__file__).resolve().parents[2]
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler"
)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "LIBRARIES", tmp_path)
    return tmp_path


@needs_compiler
def test_built_library_has_its_functions_and_replaces_older_ones(folder, monkeypatch):
    monkeypatch.setattr(build.platform, "machine", lambda: "unheard")  # no x86: one instruction set
    old = folder / build.library_path("cpp").name.replace(
        build.library_path("cpp").stem[-10:], "0123456789"
    )
    old.write_bytes(b"old")
    path = build.build_cpp()
    assert list(folder.iterdir()) == [path] == [build.library_path("cpp")]
    library = ctypes.CDLL(str(path))
    library.freeseg_cpu_instruction_set.restype = ctypes.c_char_p
    assert library.freeseg_cpu_instruction_set() == b"baseline"


@needs_compiler
@pytest.mark.parametrize("size", [16, 32, 64])
def test_kernels_are_right_with_vectors_of_any_machine(size, folder, random_case, monkeypatch):
    """Those of this machine's instruction set are one size; a compiler splits the longer ones."""
    monkeypatch.setattr(build.platform, "machine", lambda: "unheard")
    monkeypatch.setattr(build, "CPU_FLAGS", (*build.CPU_FLAGS, f"-DFREESEG_VECTOR_BYTES={size}"))
    monkeypatch.setenv("FREESEG_MSDA", "cpp")
    build.build_cpp()
    native.load.cache_clear()
    try:
        for dtype, channels in itertools.product((torch.float32, torch.float64), (5, 16, 32, 64)):
            case = random_case([(7, 5), (3, 4)], channels=channels, queries=70, dtype=dtype)
            value, shapes, _, locations, weights = case
            leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
            outputs = (
                ms_deform_attn(*case),
                ms_deform_attn_reference(value, shapes, locations, weights),
            )
            torch.testing.assert_close(*outputs)
            gradients = [torch.autograd.grad((one**2).sum(), leaves) for one in outputs]
            torch.testing.assert_close(*gradients)
    finally:
        native.load.cache_clear()


def test_library_of_other_sources_is_not_taken(monkeypatch, tmp_path):
    before = build.library_path("cpp").name
    shutil.copytree(build.SOURCES, tmp_path / "csrc")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "csrc")
    assert build.library_path("cpp").name == before
    with (tmp_path / "csrc/problem.h").open("a") as file:
        file.write("// changed\n")
    assert build.library_path("cpp").name != before


def test_no_compiler_is_one_line_and_no_failure(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CUDA_HOME", raising=False)
    lines = build.build_available()
    assert len(lines) == 2
    assert "cpp not built, another implementation serves: no C++ compiler" in lines[0]
    assert "cuda not built, another implementation serves: no nvcc" in lines[1]
    assert list(folder.iterdir()) == []


@needs_compiler
def test_failing_compiler_is_one_line_with_its_error(folder, monkeypatch, tmp_path):
    sources = tmp_path / "csrc"
    shutil.copytree(build.SOURCES, sources)
    (sources / "cpu_kernels.cpp").write_text("#error broken source\n")
    monkeypatch.setattr(build, "SOURCES", sources)
    with pytest.raises(build.BuildError, match=r"failed: .*broken source"):
        build.build_cpp()


def test_a_library_that_cannot_be_copied_leaves_what_was_there(folder, monkeypatch):
    target = build.library_path("cpp")
    target.write_bytes(b"in use")

    def break_off(_, partial):
        Path(partial).write_bytes(b"ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build.shutil, "copyfile", break_off)
    with pytest.raises(OSError, match="No space left"):
        build._put("library.so", target)
    assert list(folder.iterdir()) == [target]
    assert target.read_bytes() == b"in use"


def test_setup_can_build_where_nothing_is_installed():
    """An isolated build has neither PyTorch nor freeseg: the file must load without them."""
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(ROOT / "freeseg/ops/build.py"), "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--cuda-architectures" in done.stdout
