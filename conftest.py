"""What every test of both suites starts from."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def plain_loggers():
    """Undo what an earlier test's `setup_logger` did, which would hide records from `caplog`."""
    for name in ("detectron2", "fvcore", "freeseg"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
