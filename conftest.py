"""What every test of both suites starts from."""

from __future__ import annotations

import logging
import signal

import pytest


@pytest.fixture(autouse=True)
def plain_loggers():
    """Undo what an earlier test's `setup_logger` did, which would hide records from `caplog`."""
    for name in ("detectron2", "fvcore", "freeseg"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture
def signals_as_they_were():
    """Undo what a launcher did in this process: later pools would not end under its handlers."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    for number, handler in handlers.items():
        if handler is not signal.getsignal(number):
            signal.signal(number, handler)
