"""A COCOeval whose evaluate and accumulate are silent; the numbers are pycocotools' own."""

from __future__ import annotations

import contextlib
import io
import logging
import time

from pycocotools.cocoeval import COCOeval

logger = logging.getLogger(__name__)


class COCOeval_opt(COCOeval):  # noqa: N801, upstream's name
    """COCOeval that logs where pycocotools prints."""

    def evaluate(self):
        self._timed(super().evaluate)

    def accumulate(self, p=None):
        self._timed(super().accumulate, p)

    def _timed(self, step, *args):
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            step(*args)
        seconds = time.perf_counter() - began
        logger.info(f"COCOeval_opt.{step.__name__}() finished in {seconds:0.2f} seconds.")
