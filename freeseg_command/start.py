"""What keeps the package from starting, found without importing anything of it here.

`import freeseg` imports PyTorch, torchvision and Detectron2. Where these are missing or do not fit
together it raises an error, or the process dies in one of their libraries: `freeseg doctor` tries
imports in children.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from freeseg_command.messages import DONE, SOME_FAILED

OK, NOTE, PROBLEM = "ok", "note", "problem"

_NMS = """
import torch, torchvision
boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [5.0, 5.0, 6.0, 6.0]])
kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist()
if kept != [1, 2]:
    raise ValueError(f"wanted boxes 1 and 2 of nms, got {kept}")
"""
_PARTS = ("numpy", "cv2", "torch", "detectron2")  # compiled, but for d2lite
_PAIR = "torch and torchvision of one release and one index: pip install -U torch torchvision"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Of the thing.
        state: `OK`, `NOTE` (works, but not as well as it could) or `PROBLEM`.
        detail: What is there.
        advice: What to do about it; empty where there is nothing to do.
    """

    name: str
    state: str
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class Fault:
    """How a child process failed.

    Attributes:
        is_death: A signal ended it, as a library's abort does; else it raised an error.
        detail: The signal, or the error, in one line.
    """

    is_death: bool
    detail: str


def report(findings: Sequence[Finding], as_json: bool) -> int:
    """Prints findings; the exit code says whether there is a problem."""
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    else:
        for finding in findings:
            sys.stdout.write(f"{finding.state:<8} {finding.name:<22} {finding.detail}\n")
            if finding.advice:
                sys.stdout.write(f"{'':<8} {'':<22} -> {finding.advice}\n")
    return SOME_FAILED if any(finding.state == PROBLEM for finding in findings) else DONE


def examine_start() -> Iterator[Finding]:
    """Looks at what the package needs to start; nothing where it starts."""
    fault = fault_of("import freeseg.cli")
    if fault is None:
        return
    advice = "see below; python -c 'import freeseg' says more"
    yield Finding("import freeseg", PROBLEM, fault.detail, advice)
    for module in _PARTS:
        fault = fault_of(f"import {module}")
        if fault is not None:
            yield Finding(module, PROBLEM, fault.detail, f"install what has {module} again")
    yield examine_torchvision()


def examine_torchvision() -> Finding:
    """Whether torchvision's operators run; the package needs only its Python parts."""
    name, fault = "torchvision operators", fault_of(_NMS)
    if fault is None:
        return Finding(name, OK, "nms runs")
    if fault.is_death:
        return Finding(name, PROBLEM, fault.detail, _PAIR)
    detail = f"do not run, and freeseg does without: {fault.detail}"
    return Finding(name, NOTE, detail, f"for other programs: {_PAIR}")


@functools.cache
def fault_of(code: str) -> Fault | None:
    """Runs Python code in a child process, which may die of it; None when it ends well."""
    command = [sys.executable, "-c", code]
    child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if child.returncode == 0:
        return None
    lines = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    if child.returncode > 0:
        return Fault(False, lines[-1] if lines else f"exit code {child.returncode}")
    # what C++ says of an exception that nobody caught; stack traces stand around it
    said = [line for line in lines if line.startswith("what():")] or lines[-1:]
    try:
        name = signal.Signals(-child.returncode).name
    except ValueError:  # a real-time signal
        name = f"signal {-child.returncode}"
    return Fault(True, ": ".join([f"the process dies of {name}", *said[-1:]]))


def one_line(error: Exception) -> str:
    """As the last line of a traceback; the text of an ImportError says enough."""
    name = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
    return name + " ".join(str(error).split())


def is_run_by_name(package: str) -> bool:
    """Whether a package is just being imported by `python -m PACKAGE`, to find its `__main__`."""
    typed = sys.orig_argv
    return sys.argv[:1] == ["-m"] and typed[-len(sys.argv) :][:1] == [package]
