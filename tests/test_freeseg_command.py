"""What the `freeseg` command says where the package cannot start: beside stand-ins of its needs."""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from freeseg_command import __version__, main, program
from freeseg_command.program import COMMANDS
from freeseg_command.start import Finding, examine_torchvision, fault_of, report

VERSION = __version__
ROOT = Path(__file__).resolve().parents[1]
# As a library does that declares an operator twice.
ABORT = """
import os, sys
sys.stderr.write("frame #17: dlopen\\nterminate called after throwing an instance of 'error'\\n")
sys.stderr.write("  what():  Tried to register an operator twice\\n")
sys.stderr.flush()
os.abort()
"""
DEATH = "the process dies of SIGABRT: what():  Tried to register an operator twice"


@pytest.fixture
def start(tmp_path):
    """Runs the command in a new process beside modules of the given sources."""

    def run(
        *arguments: str, module: str = "freeseg_command", **modules: str
    ) -> subprocess.CompletedProcess:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
        path = os.pathsep.join([str(tmp_path), str(ROOT), *filter(None, sys.path)])
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # as in a terminal
        )

    return run


CTRL_C = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except {caught}:
    pass
"""


@pytest.mark.parametrize("command", ["segment photo.jpg", "info camvid", "train --help"])
@pytest.mark.parametrize("caught", ["ValueError", "BaseException"])
def test_ctrl_c_while_a_library_is_imported_is_one_line(start, command, caught):
    ended = start(*command.split(), detectron2=CTRL_C.format(caught=caught))
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "freeseg: interrupted\n")


def test_ctrl_c_is_one_line_before_any_command(monkeypatch, capsys):
    def interrupt(argv):
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "run_command", interrupt)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "freeseg: interrupted\n"


# What is there, and takes no seconds to import.
QUICK = {"numpy": "", "cv2": "", "torch": "", "torchvision": "raise RuntimeError('no operator')"}
MISSING = "raise ModuleNotFoundError(\"No module named 'detectron2'\", name='detectron2')"


@pytest.mark.parametrize("command", ["segment photo.jpg", "info camvid", "train --help"])
def test_without_detectron2_one_line_says_how_to_get_it(start, command):
    ended = start(*command.split(), detectron2=MISSING)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"freeseg {VERSION} cannot start: freeseg needs Detectron2")
    assert "pip install --no-build-isolation git+https://github.com/facebook" in line
    assert "pip install ./d2lite" in line


def test_what_detectron2_lacks_itself_is_not_taken_for_its_absence(start):
    ended = start("info", "camvid", detectron2="import no_such_package")
    assert ended.stderr == f"freeseg {VERSION} cannot start: No module named 'no_such_package'\n"
    ended = start("info", "camvid", detectron2="raise OSError('libc10.so:\\n  undefined symbol')")
    assert "cannot start: OSError: libc10.so: undefined symbol\n" in ended.stderr


def test_the_doctor_survives_what_ends_the_process(start):
    ended = start("doctor", "--json", detectron2=ABORT, **QUICK)
    findings = {row["name"]: row for row in json.loads(ended.stdout)}
    assert ended.returncode == 1
    assert findings["import freeseg"]["detail"] == DEATH
    assert findings["detectron2"] == {
        "name": "detectron2",
        "state": "problem",
        "detail": DEATH,
        "advice": "install what has detectron2 again",
    }
    assert set(findings) == {"import freeseg", "detectron2", "torchvision operators"}


def test_the_doctor_says_that_detectron2_is_missing(start):
    ended = start("doctor", detectron2=MISSING, **QUICK)
    first = ended.stdout.splitlines()[0]
    assert ended.returncode == 1
    assert first.startswith("problem  import freeseg")
    assert "freeseg needs Detectron2" in first


# Without these nothing of the package itself can be imported.
HEAVY = ("detectron2", "numpy", "torch", "torchvision")
QUICK_COMMANDS = ("--version", "--help", "models", "models coco --json", "segment --help")


@pytest.mark.parametrize(
    "command", [*QUICK_COMMANDS, "edit --help", "serve --help", "check --help"]
)
@pytest.mark.parametrize("module", ["freeseg", "freeseg_command"])
def test_what_needs_no_model_imports_none_of_what_models_need(start, module, command):
    ended = start(*command.split(), module=module, **dict.fromkeys(HEAVY, "raise ImportError"))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout
    if command == "--version":
        assert ended.stdout == f"freeseg {VERSION}\n"
    if command == "models":
        assert ended.stdout.count("\n| camvid | FreeSeg |") == 1
    if command == "--help":
        assert [name for name in ALL_NAMES if f"\n    {name} " not in ended.stdout] == []


ALL_NAMES = [command.name for command in COMMANDS]


def test_a_wrong_argument_is_refused_before_anything_is_imported(start):
    ended = start(
        "segment", "a.jpg", "--task", "depth", **dict.fromkeys(HEAVY, "raise ImportError")
    )
    assert ended.returncode == 2
    assert "invalid choice: 'depth'" in ended.stderr


@pytest.mark.parametrize("module", ["freeseg", "freeseg_command"])
@pytest.mark.parametrize("command", ["--version", "--help", "models"])
def test_what_needs_no_model_takes_less_than_half_a_second_of_a_processor(start, module, command):
    """Processor time, since others may use the machine; importing the package takes 6 seconds."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert start(command, module=module).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert statistics.median(taken) < 0.5


def test_the_package_is_whole_where_it_is_imported(start, tmp_path):
    """Also beside a command of that name, and for a program that `python -m` runs."""
    (tmp_path / "program.py").write_text("import freeseg; print(freeseg.Segmenter.__name__)")
    assert start("freeseg", module="program").stdout == "Segmenter\n"


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Has children import a torchvision of the given source."""

    def use(source: str) -> None:
        (tmp_path / "torch.py").write_text("tensor = list")
        (tmp_path / "torchvision.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        fault_of.cache_clear()

    yield use
    fault_of.cache_clear()


NMS = """
import types
import numpy
ops = types.SimpleNamespace(nms=lambda boxes, scores, threshold: numpy.array({kept}))
"""


@pytest.mark.parametrize(
    ("source", "state", "detail"),
    [
        (NMS.format(kept=[1, 2]), "ok", "nms runs"),
        (NMS.format(kept=[1, 0, 2]), "note", "wanted boxes 1 and 2 of nms, got [1, 0, 2]"),
        ("raise RuntimeError('operator does not exist')", "note", "RuntimeError: operator does"),
        (ABORT, "problem", DEATH),
    ],
    ids=["runs", "wrong", "does not load", "dies"],
)
def test_torchvisions_operators_are_tried(beside, source, state, detail):
    beside(source)
    finding = examine_torchvision()
    assert (finding.name, finding.state) == ("torchvision operators", state)
    assert detail in finding.detail
    assert ("pip install -U torch torchvision" in finding.advice) is (state != "ok")


def test_a_report_counts_problems_only(capsys):
    note, problem = Finding("a", "note", "b", "do c"), Finding("d", "problem", "e")
    assert report([note], as_json=False) == 0
    assert capsys.readouterr().out == f"note     {'a':<22} b\n{'':<31} -> do c\n"
    assert report([note, problem], as_json=True) == 1
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["note", "problem"]


def test_a_child_without_words_is_named_by_its_code():
    assert fault_of("pass") is None
    assert fault_of("raise SystemExit(3)").detail == "exit code 3"


def test_importing_the_package_says_nothing_of_how_others_compile():
    command = [sys.executable, "-W", "always", "-c", "import freeseg"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "torch.jit" not in ended.stderr
