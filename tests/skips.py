"""Where FREESEG_NO_SKIPS is set, a test that is skipped fails: CI has everything but a GPU."""

from __future__ import annotations

import os

import pytest

# What a machine may lack although all that can be installed is installed.
MAY_LACK = ("no CUDA device", "needs CUDA", "there is a CUDA device", "there is a GPU")


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Makes a failure of a skip that nothing excuses."""
    if not (os.environ.get("FREESEG_NO_SKIPS") and report.skipped) or hasattr(report, "wasxfail"):
        return
    file, line, reason = report.longrepr
    if not any(lack in reason for lack in MAY_LACK):
        report.outcome = "failed"
        report.longrepr = f"{file}:{line}: {reason} (FREESEG_NO_SKIPS is set)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Of a test."""
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    """Of a file of tests."""
    report = yield
    refuse_skip(report)
    return report
