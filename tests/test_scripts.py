"""Files that the documentation calls run as it writes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    path
    for folder in ("tools", "datasets", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if '__name__ == "__main__"' in path.read_text()
)
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "datasets").glob("*.md"),
    *(ROOT / "weights").glob("*.md"),
    *SCRIPTS,  # whose first lines say how they are called
]
CALL = re.compile(r"(?:^|[\s`])((?:tools|datasets|examples)/[\w/]+\.py)\b", re.MULTILINE)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def called() -> set[str]:
    return {name for document in DOCUMENTS for name in CALL.findall(document.read_text())}


def test_everything_that_is_called_is_there() -> None:
    assert len(called()) > 20
    assert {name for name in called() if not (ROOT / name).is_file()} == set()


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_runs_without_python_before_its_name(path: Path) -> None:
    assert path.read_text().startswith("#!/usr/bin/env python3\n")
    assert os.access(path, os.X_OK), f"git update-index --chmod=+x {name_of(path)}"


def test_modules_are_no_scripts() -> None:
    modules = sorted((ROOT / "freeseg").rglob("*.py"))
    assert [name_of(path) for path in modules if path.read_text().startswith("#!")] == []
    assert [name_of(path) for path in modules if os.access(path, os.X_OK)] == []


def test_one_is_started_as_the_documentation_writes_it() -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["tools/check_links.py", "--help"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, check=True
    )
    assert b"usage: check_links.py" in done.stdout
