"""Two ways to compute the same, timed in turns in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Contest:
    """What is timed.

    Attributes:
        ours: Computes it this project's way.
        theirs: Computes it the other way.
        check: Takes both outputs, raises AssertionError when they differ.
    """

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    check: Callable[[Any, Any], None]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: Short, for ``--rows``.
        what: What is computed.
        against: What it is compared with.
        bar: Least ratio of their time to ours.
        prepare: Builds the contest; may take its time.
        memory_bar: Least ratio of their peak memory to ours; 0 does not measure it.
    """

    name: str
    what: str
    against: str
    bar: float
    prepare: Callable[[], Contest]
    memory_bar: float = 0


@dataclass(frozen=True)
class Result:
    """Medians in seconds, the median of the ratios of neighbouring turns, and peaks in bytes."""

    ours: float
    theirs: float
    ratio: float
    our_memory: int = 0
    their_memory: int = 0

    def reaches(self, row: Row) -> bool:
        """Whether it is as good as the row demands."""
        is_small = row.memory_bar * self.our_memory <= self.their_memory
        return self.ratio >= row.bar and is_small


def run(row: Row, turns: int, clock: Callable[[], float] = time.perf_counter) -> Result:
    """Checks that outputs are equal, then times both sides in turns."""
    contest = row.prepare()
    contest.check(contest.ours(), contest.theirs())  # warms up, too
    peaks = [_peak(side) for side in (contest.ours, contest.theirs)] if row.memory_bar else [0, 0]
    pairs = [(_seconds(contest.ours, clock), _seconds(contest.theirs, clock)) for _ in range(turns)]
    return Result(
        ours=statistics.median(ours for ours, _ in pairs),
        theirs=statistics.median(theirs for _, theirs in pairs),
        ratio=statistics.median(theirs / ours for ours, theirs in pairs),
        our_memory=peaks[0],
        their_memory=peaks[1],
    )


def assert_close(ours: Sequence[Tensor], theirs: Sequence[Tensor], tolerance: float) -> None:
    """Largest difference within `tolerance`, relative to the largest number where that is > 1."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        scale = max(1.0, float(other.abs().max()))
        difference = float((one - other).abs().max())
        assert difference <= tolerance * scale, f"outputs differ by {difference} of {scale}"
        assert torch.isfinite(one).all()


def _seconds(function: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start


def _peak(function: Callable[[], Any]) -> int:
    """Bytes that the process grows by while it runs, at most. Needs Linux."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the highest size up to now
    before = _status("VmRSS")
    function()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))
