"""Tries changes one after another: a copy of the collected test session for each, with the function's code replaced.

PyTorch is imported and the tests are collected once; a change costs a fork and the tests that reach it.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from mutation.changes import Mutant
from mutation.reach import Reach

KILLED, SURVIVED, UNREACHED = "killed", "survived", "unreached"
Key = tuple[str, str, int]


@dataclass(frozen=True)
class Outcome:
    """What came of a change.

    Attributes:
        fate: killed, survived, or unreached: no test runs the line.
        tests: how many tests were to notice it.
        seconds: how long they took.
    """

    file: str
    mutant: Mutant
    fate: str
    tests: int
    seconds: float


class Trials:
    """A pytest plugin that, instead of running the tests, tries changes on them.

    Args:
        root: a copy of the repository that may be written into; the tests run in it.
        changes: (file relative to the root, change) in the order to try them.
        reach: which tests run which line.
        patience: a change's tests may take this many seconds by their own durations; the slowest are left out.
        tell: is told every outcome.
    """

    def __init__(self, root, changes, reach: Reach, patience: float, tell) -> None:  # type: ignore[no-untyped-def]
        self.root, self.changes, self.reach, self.patience, self.tell = (
            root,
            changes,
            reach,
            patience,
            tell,
        )
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One failure is enough."""
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tries every change; True tells pytest that the tests were run."""
        items = {item.nodeid: item for item in session.items}
        functions = _functions(self.root)
        for file, mutant in self.changes:
            source = (self.root / file).read_text()
            tests = self._tests(file, mutant, source, items)
            began = time.perf_counter()
            fate = UNREACHED
            if tests:
                with _written(self.root / file, ast.unparse(mutant.tree(source))):
                    noticed = self._noticed(
                        file, mutant, source, [items[test] for test in tests], functions
                    )
                fate = KILLED if noticed else SURVIVED
            self.tell(
                Outcome(file, mutant, fate, len(tests), round(time.perf_counter() - began, 2))
            )
        return True

    def _tests(
        self, file: str, mutant: Mutant, source: str, items: dict[str, pytest.Item]
    ) -> list[str]:
        span, function = _span(source, mutant)
        mirrored = _mirrored(file)
        reached = self.reach.tests(file, span)
        if function is None:  # runs on import: whatever uses the file may notice
            rows = self.reach.lines.get(file, {})
            reached = self.reach.tests(file, range(min(rows, default=0), max(rows, default=0) + 1))
        own = [
            test
            for test in self.reach.seconds
            if test.split("::")[0] == mirrored and test not in reached
        ]
        if not reached or _in_processes(file):
            reached = reached + own
        reached.sort(key=lambda test: not test.startswith(mirrored))
        chosen, spent = [], 0.0
        for test in reached:
            spent += self.reach.seconds[test]
            if test in items and (spent <= self.patience or not chosen):
                chosen.append(test)
        return chosen

    def _noticed(self, file, mutant, source, items, functions) -> bool:  # type: ignore[no-untyped-def]
        allowed = 20 + 4 * sum(self.reach.seconds[item.nodeid] for item in items)
        with _folder(self.root.parent / "tmp") as folder:
            child = os.fork()
            if child == 0:
                self._child(file, mutant, source, items, functions, folder, allowed)
            status = _wait(child, allowed)
        return status != 0

    def _child(self, file, mutant, source, items, functions, folder: Path, allowed: float) -> None:  # type: ignore[no-untyped-def]
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        code = 1
        try:
            if _replaced(self.root / file, mutant, source, functions):
                config = items[0].config
                config._tmp_path_factory._basetemp = folder  # noqa: SLF001 (a child's files are its own)
                code = self._run(items)
            else:
                command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
                names = [item.nodeid for item in items]
                code = subprocess.run(
                    [*command, f"--basetemp={folder}", *names], timeout=allowed
                ).returncode
        finally:
            os._exit(code)

    def _run(self, items: list[pytest.Item]) -> int:
        for item, following in zip(items, [*items[1:], None]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                return 1
        return 0


def _replaced(
    path: Path, mutant: Mutant, source: str, functions: dict[Key, list[FunctionType]]
) -> bool:
    """Puts the change into the functions that are there; False: it needs a new process."""
    _, function = _span(source, mutant)
    if not any(
        getattr(loaded, "__file__", None) == str(path) for loaded in list(sys.modules.values())
    ):
        return True  # not imported yet: the file on disk is the changed one
    if function is None:
        return False
    key = (str(path), *function)
    code = _codes(compile(mutant.tree(source), str(path), "exec")).get(function)
    if code is None or key not in functions:
        return False
    try:
        for found in functions[key]:
            found.__code__ = code
    except ValueError:  # other free variables
        return False
    return True


def _functions(root: Path) -> dict[Key, list[FunctionType]]:
    """Every function of the repository that is in memory, by file, name and line."""
    found: dict[Key, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(
            f"{root}/freeseg"
        ):
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(
                thing
            )
    return found


def _codes(code: CodeType) -> dict[tuple[str, int], CodeType]:
    found = {}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found[(constant.co_qualname, constant.co_firstlineno)] = constant
            found.update(_codes(constant))
    return found


def _span(source: str, mutant: Mutant) -> tuple[range, tuple[str, int] | None]:
    """The lines of the changed statement; name and first line of the outermost function it is in."""
    tree = ast.parse(source)
    target = list(ast.walk(tree))[mutant.place]
    chain = _chain(tree, target)
    statement = next(node for node in reversed(chain) if isinstance(node, ast.stmt))
    body = getattr(statement, "body", None)
    end = body[0].lineno - 1 if body else statement.end_lineno
    span = range(statement.lineno, max(end or statement.lineno, statement.lineno) + 1)
    names: list[str] = []
    for node, inside in zip(chain, [*chain[1:], target]):
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if inside not in node.body:
                return span, None
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            return span, (".".join([*names, node.name]), first)
    return span, None


def _chain(tree: ast.AST, target: ast.AST) -> list[ast.AST]:
    """From the file down to the node, both included."""
    for child in ast.iter_child_nodes(tree):
        if child is target:
            return [tree, child]
        below = _chain(child, target)
        if below:
            return [tree, *below]
    return []


def _mirrored(file: str) -> str:
    path = Path(file)
    return str(Path("tests", *path.parts[1:-1], f"test_{path.name}"))


def _in_processes(file: str) -> bool:
    """Parts that mostly run in processes of their own, where the tracer does not see them."""
    return file in {
        "freeseg/engine/launch.py",
        "freeseg/bulk/processes.py",
        "freeseg/bulk/worker.py",
    }


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


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _wait(child: int, allowed: float) -> int:
    """The child's exit status; a child that takes too long is killed, with all it began."""
    until = time.monotonic() + allowed
    pause = 0.005
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            _kill(child)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    _kill(child)
    return status


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
