"""Child processes: without a word, in a group of their own, and never for long."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

FAULT = 70  # exit code of a child that could not do what it was to do


@contextmanager
def silenced() -> Iterator[None]:
    """A forked child's body: it has a process group, no output, and an exit code for its faults."""
    try:
        os.setpgrp()
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        yield
    finally:
        os._exit(FAULT)


def wait(child: int, allowed: float) -> int:
    """The child's exit status; one that takes too long is killed, with all it began.

    Args:
        allowed: Seconds.
    """
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
