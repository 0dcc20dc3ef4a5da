"""Compiles the native libraries of the operators: ``python -m freeseg.ops.build``.

They are plain C libraries: no header of PyTorch or Python goes in, so that one build serves every
version of both, takes seconds, and needs no more than a compiler. `setup.py` loads this file by
its path, where neither PyTorch nor freeseg can be imported: standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).resolve().parent / "csrc"
LIBRARIES = Path(__file__).resolve().parent / "lib"
FILES = {
    "cpp": ("problem.h", "cpu_kernels.h", "cpu_kernels.cpp", "cpu_library.cpp"),
    "cuda": ("problem.h", "cuda_kernels.cuh", "cuda_library.cu"),
}
CPU_FLAGS = (
    "-O3",
    "-fPIC",
    "-std=c++17",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
)
# Namespace of the kernels, and how they are compiled; the library picks one at run time.
X86_INSTRUCTION_SETS = {
    "baseline": ("-march=x86-64",),
    "avx2": ("-march=x86-64-v3",),
    "avx512": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
}
THREADS = (("-fopenmp",), ("-fopenmp-simd", "-pthread"), ("-pthread",))  # first that compiles
CUDA_FLAGS = ("-O3", "-std=c++17", "-Xcompiler=-fPIC,-fvisibility=hidden")


class BuildError(RuntimeError):
    """A library cannot be built here; the message is one line that says why."""


def library_path(name: str) -> Path:
    """Where library "cpp" or "cuda" belongs: its name changes with its sources and flags."""
    digest = hashlib.sha256(repr((CPU_FLAGS, X86_INSTRUCTION_SETS, CUDA_FLAGS)).encode())
    for file in FILES[name]:
        digest.update((SOURCES / file).read_bytes())
    machine = platform.machine().lower()
    return LIBRARIES / f"{name}-{sys.platform}-{machine}-{digest.hexdigest()[:10]}.so"


def build_cpp() -> Path:
    """Compiles the CPU library for every instruction set of this kind of machine.

    Raises:
        BuildError: When there is no compiler or it fails.
    """
    compiler = _find_compiler()
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    sets = X86_INSTRUCTION_SETS if is_x86 else {"baseline": ()}
    flags = [*CPU_FLAGS, *(["-DFREESEG_X86"] if is_x86 else [])]
    with tempfile.TemporaryDirectory() as folder:
        threads = _first_that_compiles(compiler, THREADS, Path(folder))
        compile_ = [compiler, *flags, *threads]
        for name, machine in sets.items():
            target = ["-c", str(SOURCES / "cpu_kernels.cpp"), "-o", f"{folder}/{name}.o"]
            _run([*compile_, *machine, f"-DFREESEG_ISA={name}", *target])
        objects = [str(SOURCES / "cpu_library.cpp"), *(f"{folder}/{name}.o" for name in sets)]
        library = f"{folder}/library.so"
        _run([*compile_, "-shared", *objects, "-o", library])
        return _put(library, library_path("cpp"))


def build_cuda(architectures: Sequence[str] = ()) -> Path:
    """Compiles the CUDA library.

    Args:
        architectures: Such as ("80", "90"); of the GPUs at hand when empty.

    Raises:
        BuildError: When nvcc is missing or fails, or there is nothing to compile for.
    """
    nvcc = find_nvcc()
    if nvcc is None:
        raise BuildError("no nvcc on the path or in $CUDA_HOME/bin")
    architectures = tuple(architectures) or _architectures_of_gpus(nvcc)
    targets = [
        f"-gencode=arch=compute_{name},code=sm_{name}" for name in sorted(set(architectures))
    ]
    newest = max(architectures, key=int)
    targets.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")  # for later GPUs
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/library.so"
        source = SOURCES / "cuda_library.cu"
        _run([nvcc, *CUDA_FLAGS, *targets, "-shared", str(source), "-o", library])
        return _put(library, library_path("cuda"))


def build_available() -> list[str]:
    """Builds what is missing and this machine can, never fails; one line per library tells."""
    lines = []
    for name, build in (("cpp", build_cpp), ("cuda", build_cuda)):
        try:
            path = library_path(name)
            lines.append(
                f"freeseg.ops: {name} is there: {(path if path.exists() else build()).name}"
            )
        except (BuildError, OSError) as error:
            lines.append(f"freeseg.ops: {name} not built, another implementation serves: {error}")
    return lines


def find_nvcc() -> str | None:
    """The CUDA compiler, or None."""
    home = os.environ.get("CUDA_HOME", os.environ.get("CUDA_PATH", ""))
    return shutil.which("nvcc", path=f"{home}/bin") if home else shutil.which("nvcc")


def _find_compiler() -> str:
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")):
        found = shutil.which(name)
        if found:
            return found
    raise BuildError("no C++ compiler (g++, clang++ or $CXX)")


def _first_that_compiles(
    compiler: str, candidates: Sequence[tuple[str, ...]], folder: Path
) -> tuple[str, ...]:
    program = folder / "program.cpp"
    program.write_text("int main() { return 0; }\n")
    for flags in candidates[:-1]:
        command = [compiler, *flags, str(program), "-o", f"{folder}/program"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return flags
    return candidates[-1]


def _architectures_of_gpus(nvcc: str) -> tuple[str, ...]:
    """Architectures of the GPUs at hand, once PyTorch and nvcc agree on the version of CUDA."""
    try:
        import torch
    except ImportError:
        raise BuildError(
            "PyTorch is not visible here (isolated build); run python -m freeseg.ops.build"
        ) from None
    if torch.version.cuda is None:
        raise BuildError("this PyTorch has no CUDA")
    printed = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"release (\d+)", printed.stdout)
    if found is None or found[1] != torch.version.cuda.split(".")[0]:
        version = found[1] if found else "unknown"
        raise BuildError(f"nvcc is of CUDA {version}, PyTorch of CUDA {torch.version.cuda}")
    if not torch.cuda.is_available():
        raise BuildError("no GPU at hand; name one with --cuda-architectures 80 90")
    capabilities = map(torch.cuda.get_device_capability, range(torch.cuda.device_count()))
    return tuple(f"{major}{minor}" for major, minor in capabilities)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise BuildError(f"{Path(command[0]).name} failed: {errors[0].strip()}")


def _put(built: str, target: Path) -> Path:
    """Moves a library into place at once, so that nobody loads half of it; drops older builds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files = runpy.run_path(str(Path(__file__).resolve().parents[1] / "files.py"))
    with files["replacing"](target) as partial:
        shutil.copyfile(built, partial)
        partial.chmod(0o755)
    pattern = re.sub(r"-[0-9a-f]{10}\.so$", "-*.so", target.name)
    for other in target.parent.glob(pattern):
        if other != target:
            other.unlink()
    return target


def main() -> None:
    """Builds what this machine can and says so."""
    parser = argparse.ArgumentParser(prog="python -m freeseg.ops.build", description=main.__doc__)
    parser.add_argument("--cuda-architectures", nargs="+", default=[], metavar="80")
    architectures = parser.parse_args().cuda_architectures
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if architectures:
        logger.info("freeseg.ops: cuda built: %s", build_cuda(architectures).name)
        return
    for line in build_available():
        logger.info("%s", line)


if __name__ == "__main__":
    main()
