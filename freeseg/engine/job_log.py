"""The log of a job, which begins when it is known that the job can."""

from __future__ import annotations

import argparse
import contextlib
import logging
import queue
from collections.abc import Iterator
from logging.handlers import QueueHandler

from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.logger import setup_logger

_LOGGED = ("fvcore", "freeseg")  # and detectron2

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def held_log() -> Iterator[queue.SimpleQueue[logging.LogRecord]]:
    """Keeps what is logged inside `with` for `begin_log`: a refusal then comes first and alone."""
    held: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = QueueHandler(held)
    loggers = [logging.getLogger(name) for name in (*_LOGGED, "detectron2")]
    before = [(one.handlers, one.propagate, one.level) for one in loggers]
    for one in loggers:
        one.handlers, one.propagate = [handler], False
        one.setLevel(logging.DEBUG)
    try:
        yield held
    finally:
        for one, (handlers, propagate, level) in zip(loggers, before):
            one.handlers, one.propagate = handlers, propagate
            one.setLevel(level)


def begin_log(
    cfg: CfgNode, args: argparse.Namespace, held: queue.SimpleQueue[logging.LogRecord]
) -> None:
    """Logs to OUTPUT_DIR what runs where and how, and then what was held back.

    It takes the place of Detectron2's default_setup, which also writes config.yaml: that of a
    finished model, perhaps, for a job that never trains.
    """
    rank = comm.get_rank()
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank)
    for name in _LOGGED:
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name=name)
    logger.info("Process %d of %d", rank, comm.get_world_size())
    logger.info("Environment:\n%s", collect_env_info())
    logger.info("Arguments: %s", args)
    logger.info("Configuration:\n%s", cfg.dump())
    while not held.empty():
        record = held.get()
        logging.getLogger(record.name).handle(record)
