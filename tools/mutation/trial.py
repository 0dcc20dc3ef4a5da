"""Tries changes one after another, each in a copy of a pytest session whose tests are collected.

PyTorch is imported and the tests are collected once; a change costs a fork, another code object in
a function that is there, and the tests that run its line.
"""

from __future__ import annotations

import ast
import gc
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from mutation.changes import Mutant
from mutation.child import FAULT, silenced, wait
from mutation.fresh import FreshProcesses
from mutation.place import Place, place_of
from mutation.reach import Reach

KILLED, SURVIVED, UNREACHED = "killed", "survived", "unreached"
# Parts that mostly run in processes of their own, where the tracer does not see them.
IN_PROCESSES = {
    "freeseg/engine/launch.py",
    "freeseg/bulk/processes.py",
    "freeseg/bulk/worker.py",
}
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
        fresh: for what runs on import.
        tell: is told every outcome.
    """

    def __init__(
        self,
        root: Path,
        changes: Sequence[tuple[str, Mutant]],
        reach: Reach,
        patience: float,
        fresh: FreshProcesses,
        tell: Callable[[Outcome], None],
    ) -> None:
        self.root, self.changes, self.reach = root, changes, reach
        self.patience, self.fresh, self.tell = patience, fresh, tell
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
        """Those of the mirrored file first and of others of its name, then the quickest."""
        mirrored = str(Path("tests", *Path(file).parts[1:-1], f"test_{Path(file).stem}"))
        # What runs on import may be noticed by whatever uses the file.
        lines = self.reach.lines.get(file, {}) if place.function is None else place.lines
        reached = self.reach.tests(file, lines)
        if not reached or file in IN_PROCESSES:
            own = (test for test in self.reach.seconds if test.startswith(f"{mirrored}."))
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
            replacement = _replacement(trial, functions)
            if replacement is None:
                names = [item.nodeid for item in trial.items]
                status = self.fresh.run(names, folder, trial.allowed)
            else:
                child = os.fork()
                if child == 0:
                    self._run_child(trial, folder, replacement)
                status = wait(child, trial.allowed)
        shutil.rmtree(folder, ignore_errors=True)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == FAULT:
            raise RuntimeError(f"{trial.path}: {trial.place} could not be tried")
        return status != 0

    def _run_child(
        self, trial: _Trial, folder: Path, replacement: list[tuple[FunctionType, CodeType]]
    ) -> None:
        with silenced():
            for function, code in replacement:
                function.__code__ = code
            trial.items[0].config._tmp_path_factory._basetemp = folder
            try:
                os._exit(self._run(trial.items))
            except (KeyboardInterrupt, pytest.exit.Exception):  # the change's doing
                os._exit(1)

    def _run(self, items: list[pytest.Item]) -> int:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return 1
        return 0


def _replacement(trial: _Trial, functions: Functions) -> list[tuple[FunctionType, CodeType]] | None:
    """Functions that are there and their changed code; None where only a new import will do."""
    modules = list(sys.modules.values())
    if not any(getattr(module, "__file__", None) == str(trial.path) for module in modules):
        return []  # not imported yet: the file on disk is the changed one
    if trial.place.function is None:
        return None
    code = _codes(compile(trial.tree, str(trial.path), "exec"))[trial.place.function]
    known = functions.get((str(trial.path), *trial.place.function), [])
    fits = all(code.co_freevars == function.__code__.co_freevars for function in known)
    return [(function, code) for function in known] if known and fits else None


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
