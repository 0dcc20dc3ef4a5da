"""What can be said of the CUDA kernels without a GPU, and with one."""

from __future__ import annotations

import contextlib
import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from freeseg.ops import available, build, ms_deform_attn_reference, native
from freeseg.ops.reference import ms_deform_attn_reference_backward
from freeseg.ops.samples import Samples

HERE = Path(__file__).resolve().parent
MAX_REGISTERS = 85  # three blocks of 256 threads share the 65536 of a multiprocessor


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    """The kernels' own source, compiled for the CPU with warps of coroutines."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    library = tmp_path_factory.mktemp("emulated") / "emulated_gpu.so"
    source = str(HERE / "emulated_gpu.cpp")
    flags = ["-O1", "-std=c++17", "-fPIC", "-shared", f"-I{build.SOURCES}"]
    done = subprocess.run(
        [compiler, *flags, source, "-o", str(library)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


@pytest.fixture
def kernels(emulated, monkeypatch):
    """`native.cuda_forward` and `native.cuda_backward` on the emulated GPU."""
    monkeypatch.setattr(native, "load", lambda name: emulated)
    monkeypatch.setattr(native, "_on", lambda value: contextlib.nullcontext(ctypes.c_void_p(0)))
    return native.cuda_forward, native.cuda_backward


CASES = {
    "one lane": {"channels": 1},
    "odd channels": {"channels": 7},
    "vectors": {"channels": 8},
    "as published": {"channels": 32, "heads": 8},
    "more channels than a warp holds": {"channels": 136, "queries": 2},
    "single channels beyond a warp": {"channels": 35, "queries": 3},
    "far outside": {"channels": 4, "spread": 6.0},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_kernels_on_an_emulated_gpu_equal_the_reference(case, dtype, kernels, random_case):
    forward, backward = kernels
    samples = Samples.prepare(*random_case([(4, 3), (1, 1), (2, 5)], dtype=dtype, **case))
    reference = (samples.value, samples.sizes, samples.locations, samples.weights)
    expected = ms_deform_attn_reference(*reference)
    torch.testing.assert_close(forward(samples), expected, rtol=1e-4, atol=1e-5)
    grad_output = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    wanted = ms_deform_attn_reference_backward(*reference, grad_output)
    for one, other in zip(backward(samples, grad_output), wanted):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["80", "90"])
def test_kernels_compile_without_spilled_registers(architecture, tmp_path):
    nvcc = build.find_nvcc()
    if nvcc is None:
        pytest.skip("no nvcc")
    done = subprocess.run(
        [
            nvcc,
            *build.CUDA_FLAGS,
            f"-arch=sm_{architecture}",
            "-Xptxas=-v",
            "-shared",
            str(build.SOURCES / "cuda_library.cu"),
            "-o",
            str(tmp_path / "library.so"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    registers = [int(number) for number in re.findall(r"Used (\d+) registers", done.stderr)]
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert len(registers) == len(spills) == 16  # 4 number types, 2 vector widths, 2 directions
    assert set(spills) == {("0", "0")}
    assert max(registers) <= MAX_REGISTERS


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cuda", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_gpu_equals_the_reference(name, dtype, random_case):
    if not (torch.cuda.is_available() and available()[name].is_usable):
        pytest.skip(f"{name}: {available()[name].reason}")
    from freeseg.ops.implementations import IMPLEMENTATIONS

    one = next(one for one in IMPLEMENTATIONS if one.name == name)
    arguments = random_case([(40, 30), (7, 9)], channels=32, heads=8, queries=500, dtype=dtype)
    samples = Samples.prepare(*(tensor.cuda() for tensor in arguments))
    on_cpu = Samples.prepare(*arguments)
    reference = (
        on_cpu.value.to(on_cpu.locations.dtype),
        on_cpu.sizes,
        on_cpu.locations,
        on_cpu.weights,
    )
    expected = ms_deform_attn_reference(*reference)
    rounding = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(
        one.forward(samples).cpu().to(expected.dtype), expected, rtol=rounding, atol=rounding
    )
    grad_output = torch.randn(expected.shape).to(dtype)
    wanted = ms_deform_attn_reference_backward(*reference, grad_output.to(expected.dtype))
    for found, other in zip(one.backward(samples, grad_output.cuda()), wanted):
        torch.testing.assert_close(found.cpu().to(other.dtype), other, rtol=1e-3, atol=1e-3)
