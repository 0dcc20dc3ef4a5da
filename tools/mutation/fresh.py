"""Processes with what is large and nothing of ours yet, for changes of what runs on import."""

from __future__ import annotations

import importlib
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from mutation.child import silenced, wait

LARGE = ("torch", "numpy", "cv2", "scipy.optimize", "hypothesis")


class FreshProcesses:
    """A process, begun before ours imports anything, that forks once for every run of tests."""

    def __init__(self) -> None:
        (asked, self._ask), (self._answer, answers) = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(self._ask)
            os.close(self._answer)
            try:
                _serve(asked, answers)
            finally:
                os._exit(0)
        os.close(asked)
        os.close(answers)

    def run(self, tests: list[str], folder: Path, allowed: float) -> int:
        """The exit status of pytest on tests; its temporary files are in the folder.

        Args:
            allowed: Seconds; then it is killed.
        """
        arguments = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={folder}", *tests]
        question = json.dumps({"arguments": arguments, "allowed": allowed}) + "\n"
        os.write(self._ask, question.encode())
        return int(os.read(self._answer, 100))


def _serve(asked: int, answers: int) -> None:
    for name in LARGE:
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
    with os.fdopen(asked) as questions:
        for line in questions:
            question = json.loads(line)
            child = os.fork()
            if child == 0:
                with silenced():
                    os._exit(int(pytest.main(question["arguments"])))
            os.write(answers, str(wait(child, question["allowed"])).encode())
