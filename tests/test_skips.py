"""CI may not skip what it could run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILE = """
import pytest

@pytest.mark.skip(reason={reason!r})
def test_a():
    pass

def test_b():
    pass
"""


@pytest.mark.parametrize(
    ("reason", "environment", "code"),
    [
        ("no sample data", {}, 0),
        ("no sample data", {"FREESEG_NO_SKIPS": "1"}, 1),
        ("cuda: no CUDA device", {"FREESEG_NO_SKIPS": "1"}, 0),
    ],
    ids=["elsewhere", "in-ci", "in-ci-without-gpu"],
)
@pytest.mark.parametrize("whole", [False, True], ids=["one-test", "a-file"])
def test_a_skip_fails_where_nothing_may_be_skipped(tmp_path, reason, environment, code, whole):
    skip_all = f"import pytest\npytest.skip({reason!r}, allow_module_level=True)\n"
    (tmp_path / "test_it.py").write_text(skip_all if whole else FILE.format(reason=reason))
    (tmp_path / "test_other.py").write_text("def test_c():\n    pass\n")
    (tmp_path / "conftest.py").write_text(
        "from skips import pytest_make_collect_report, pytest_runtest_makereport\n"
    )
    known = {name: value for name, value in os.environ.items() if name != "FREESEG_NO_SKIPS"}
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**known, "PYTHONPATH": str(TESTS), **environment},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if whole and code:
        code = 2  # pytest's own: a file could not be collected
    assert ended.returncode == code, ended.stdout
    assert (f"{reason} (FREESEG_NO_SKIPS is set)" in ended.stdout) == bool(code)
