"""Tries changes one after another, each in a copy of a pytest session whose tests are collected.

PyTorch is imported and the tests are collected once; a change costs a fork, another code object in
a function that is there, and the tests that run its line.
"""

from __future__ import annotations

import ast
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from mutation.changes import Mutant
from mutation.place import Place, place_of
from mutation.reach import Reach

KILLED, SURVIVED, UNREACHED = "killed", "survived", "unreached"
# Parts that mostly run in processes of their own, where the tracer does not see them.
IN_PROCESSES = {
    "freeseg/engine/launch.py",
    "freeseg/bulk/processes.py",
    "freeseg/bulk/worker.py",
}
FAULT = 70  # exit code of a child that could not try the change
Functions = dict[tuple[str, str, int], list[FunctionType]]


@dataclass(frozen=True)
class Outcome:
    """What came of a change.

    Attributes:
        file: relative to the repository.
        fate: killed, survived, or unreached: no test runs the line.
        tests: how many tests were to notice it.
        seconds: how long they took.
    """

    file: str
    mutant: Mutant
    fate: str
    tests: int
    seconds: float


@dataclass(frozen=True)
class _Trial:
    """One change, where it is, and the tests that are to notice it."""

    path: Path
    tree: ast.Module
    place: Place
    items: list[pytest.Item]
    allowed: float  # seconds


class Trials:
    """A pytest plugin that, instead of running the tests, tries changes on them.

    Args:
        root: a copy of the repository that may be written into; the tests run in it.
        changes: (file relative to the root, change) in the order to try them.
        reach: which tests run which line.
        patience: of a change's tests, the slowest are left out beyond so many seconds.
        tell: is told every outcome.
    """

    def __init__(
        self,
        root: Path,
        changes: Sequence[tuple[str, Mutant]],
        reach: Reach,
        patience: float,
        tell: Callable[[Outcome], None],
    ) -> None:
        self.root, self.changes, self.reach = root, changes, reach
        self.patience, self.tell = patience, tell
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One failure is enough."""
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tries every change; True tells pytest that the tests were run."""
        items = {item.nodeid: item for item in session.items}
        functions = _functions(f"{self.root}/freeseg")
        for file, mutant in self.changes:
            began = time.perf_counter()
            path = self.root / file
            source = path.read_text()
            place, tree = place_of(source, mutant.place), mutant.tree(source)
            tests = [items[test] for test in self._tests(file, place) if test in items]
            allowed = 20 + 4 * sum(self.reach.seconds[item.nodeid] for item in tests)
            runs = place.function is None or self.reach.tests(file, place.lines)
            fate = SURVIVED if runs else UNREACHED
            if tests and self._is_noticed(_Trial(path, tree, place, tests, allowed), functions):
                fate = KILLED
            seconds = round(time.perf_counter() - began, 2)
            self.tell(Outcome(file, mutant, fate, len(tests), seconds))
        return True

    def _tests(self, file: str, place: Place) -> list[str]:
        """Those of the mirrored file first, then the quickest."""
        mirrored = str(Path("tests", *Path(file).parts[1:-1], f"test_{Path(file).name}"))
        # What runs on import may be noticed by whatever uses the file.
        lines = self.reach.lines.get(file, {}) if place.function is None else place.lines
        reached = self.reach.tests(file, lines)
        if not reached or file in IN_PROCESSES:
            own = (test for test in self.reach.seconds if test.split("::")[0] == mirrored)
            reached += [test for test in own if test not in reached]
        reached.sort(key=lambda test: not test.startswith(mirrored))
        chosen: list[str] = []
        spent = 0.0
        for test in reached:
            spent += self.reach.seconds[test]
            if spent <= self.patience or not chosen:
                chosen.append(test)
        return chosen

    def _is_noticed(self, trial: _Trial, functions: Functions) -> bool:
        folder = self.root.parent / "tmp"
        folder.mkdir()
        with _written(trial.path, ast.unparse(trial.tree)):
            child = os.fork()
            if child == 0:
                self._run_child(trial, functions, folder)
            status = _wait(child, trial.allowed)
        shutil.rmtree(folder, ignore_errors=True)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == FAULT:
            raise RuntimeError(f"{trial.path}: {trial.place} could not be tried")
        return status != 0

    def _run_child(self, trial: _Trial, functions: Functions, folder: Path) -> None:
        code = FAULT
        try:
            os.setpgrp()
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            if _is_replaced(trial, functions):
                trial.items[0].config._tmp_path_factory._basetemp = folder
                code = self._run(trial.items)
            else:
                command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
                command += [f"--basetemp={folder}", *(item.nodeid for item in trial.items)]
                code = subprocess.run(command, check=False).returncode and 1
        except (KeyboardInterrupt, pytest.exit.Exception):  # the change's doing
            code = 1
        finally:
            os._exit(code)

    def _run(self, items: list[pytest.Item]) -> int:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return 1
        return 0


def _is_replaced(trial: _Trial, functions: Functions) -> bool:
    """Puts the change into the functions that are there; False: it takes a new process."""
    modules = list(sys.modules.values())
    if not any(getattr(module, "__file__", None) == str(trial.path) for module in modules):
        return True  # not imported yet: the file on disk is the changed one
    if trial.place.function is None:
        return False
    known = functions.get((str(trial.path), *trial.place.function), [])
    code = _codes(compile(trial.tree, str(trial.path), "exec")).get(trial.place.function)
    if code is None or not known:
        return False
    try:
        for function in known:
            function.__code__ = code
    except ValueError:  # other free variables
        return False
    return True


def _functions(root: str) -> Functions:
    """Every function in memory whose file is below the root, by file, name and line."""
    found: Functions = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(root):
            code = thing.__code__
            key = (code.co_filename, code.co_qualname, code.co_firstlineno)
            found.setdefault(key, []).append(thing)
    return found


def _codes(code: CodeType) -> dict[tuple[str, int], CodeType]:
    found = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found[(constant.co_qualname, constant.co_firstlineno)] = constant
            found.update(_codes(constant))
    return found


@contextmanager
def _written(path: Path, text: str) -> Iterator[None]:
    """The file holds the text for a while; its old self comes back with its time of change."""
    kept = path.with_suffix(".kept")
    path.rename(kept)
    try:
        path.write_text(text)
        yield
    finally:
        kept.replace(path)


def _wait(child: int, allowed: float) -> int:
    """The child's exit status; one that takes too long is killed, with all it began."""
    until = time.monotonic() + allowed
    pause = 0.005
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if not done and time.monotonic() > until:
            _kill(child)
            done, status = os.waitpid(child, 0)
        if done:
            _kill(child)
            return status
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
