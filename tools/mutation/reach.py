"""Which tests run which line: every test once, under a tracer that looks at some folders alone."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

# Lines of a function are looked at in so many of its calls per test.
ENOUGH = 100
Lines = dict[str, dict[int, list[str]]]


class Reach:
    """Lines of files and the tests that run them, with the seconds each test takes.

    Attributes:
        seconds: {test: duration}; tests that failed without any change are not among them.
        lines: {file, relative to the repository: {line: tests}}.
    """

    def __init__(self, seconds: dict[str, float], lines: Lines) -> None:
        self.seconds, self.lines = seconds, lines

    @classmethod
    def read(cls, path: Path) -> Reach:
        """From a file that `write` wrote."""
        kept = json.loads(path.read_text())
        names = list(kept["seconds"])
        lines = {
            file: {
                int(line): [names[number] for number in numbers] for line, numbers in rows.items()
            }
            for file, rows in kept["lines"].items()
        }
        return cls(kept["seconds"], lines)

    def write(self, path: Path) -> None:
        """As JSON; tests are written once and named by their number."""
        number = {test: index for index, test in enumerate(self.seconds)}
        lines = {
            file: {
                line: [number[test] for test in tests if test in number]
                for line, tests in rows.items()
            }
            for file, rows in self.lines.items()
        }
        path.write_text(json.dumps({"seconds": self.seconds, "lines": lines}))

    def files(self) -> list[str]:
        """Files of tests that run any of the lines."""
        rows = (tests for lines in self.lines.values() for tests in lines.values())
        return sorted({test.split("::")[0] for tests in rows for test in tests})

    def tests(self, file: str, lines: Iterable[int]) -> list[str]:
        """Tests that run any of the lines, the quickest first."""
        rows = self.lines.get(file, {})
        found = {test for line in lines for test in rows.get(line, ()) if test in self.seconds}
        return sorted(found, key=lambda test: (self.seconds[test], test))


class Tracer:
    """A pytest plugin that fills a `Reach`.

    Args:
        root: the repository.
        folders: traced files lie under these, relative to the root.
    """

    def __init__(self, root: Path, folders: list[str]) -> None:
        self.prefix = f"{root}/"
        self.folders = tuple(f"{root}/{folder}" for folder in folders)
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.test = ""
        self.calls: Counter[CodeType] = Counter()

    def reach(self) -> Reach:
        """What was seen."""
        seconds = {test: spent for test, spent in self.seconds.items() if test not in self.failed}
        lines = {
            file.removeprefix(self.prefix): {line: sorted(tests) for line, tests in rows.items()}
            for file, rows in self.lines.items()
        }
        return Reach(seconds, lines)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        """Traces one test with its fixtures."""
        self.test = item.nodeid
        self.calls.clear()
        began = time.perf_counter()
        threading.settrace(self._call)
        sys.settrace(self._call)
        yield
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        self.seconds[item.nodeid] = round(time.perf_counter() - began, 3)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails as things are says nothing about a change."""
        if report.failed:
            self.failed.add(report.nodeid)

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(self.folders):
            return None
        self.calls[frame.f_code] += 1
        if self.calls[frame.f_code] > ENOUGH:
            return None
        rows, test = self.lines[file], self.test
        rows[frame.f_lineno].add(test)

        def line(frame: FrameType, event: str, _: Any) -> Any:
            rows[frame.f_lineno].add(test)
            return line

        return line
