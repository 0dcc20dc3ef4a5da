"""Logging: one configured root per package, rate-limited messages, small tables."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import re
import sys
import time
from collections import Counter

import torch
from tabulate import tabulate
from termcolor import colored

from detectron2.utils.file_io import PathManager

__all__ = ["log_every_n", "log_every_n_seconds", "log_first_n", "setup_logger"]

D2_LOG_BUFFER_SIZE_KEY: str = "D2_LOG_BUFFER_SIZE"
DEFAULT_LOG_BUFFER_SIZE: int = 1024 * 1024  # bytes, for remote log files only

_DATE_FORMAT = "%m/%d %H:%M:%S"
_LOG_COUNTER: Counter = Counter()
_LOG_TIMER: dict = {}
_MARKS = {
    logging.WARNING: ("WARNING", ["blink"]),
    logging.ERROR: ("ERROR", ["blink", "underline"]),
    logging.CRITICAL: ("ERROR", ["blink", "underline"]),
}


class _ColorfulFormatter(logging.Formatter):
    """Abbreviates the root package's name and marks warnings and errors in red."""

    def __init__(self, *args, root_name, abbrev_name="", **kwargs):
        super().__init__(*args, **kwargs)
        self._root_prefix = root_name + "."
        self._short_prefix = abbrev_name + "." if abbrev_name else ""

    def formatMessage(self, record):  # noqa: N802, the base class names it
        record.name = record.name.replace(self._root_prefix, self._short_prefix)
        line = super().formatMessage(record)
        if record.levelno not in _MARKS:
            return line
        word, attributes = _MARKS[record.levelno]
        return f"{colored(word, 'red', attrs=attributes)} {line}"


class _WithoutColours(logging.Formatter):
    """Leaves out the colours of a formatter and of messages: a file would show their codes."""

    def __init__(self, formatter):
        super().__init__()
        self._formatter = formatter

    def format(self, record):
        return re.sub(r"\x1b\[[0-9;]*m", "", self._formatter.format(record))


@functools.lru_cache  # a second identical call must not add handlers again
def setup_logger(
    output=None,
    distributed_rank=0,
    *,
    color=True,
    name="detectron2",
    abbrev_name=None,
    enable_propagation: bool = False,
    configure_stdout: bool = True,
):
    """Configure the logger ``name`` at level DEBUG and return it.

    Args:
        output: where to write a log file besides stdout: a name ending in .txt or .log, or a
            folder that gets a ``log.txt``. Ranks above 0 append ``.rankN``. None writes no file.
        distributed_rank: rank of this process; only rank 0 writes to stdout.
        color: colour the stdout lines.
        name: root package of the logger.
        abbrev_name: what stands for ``name`` on stdout; "" drops it. Default: "d2" for
            detectron2, otherwise ``name``.
        enable_propagation: let records reach the parent loggers too.
        configure_stdout: write to stdout.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    plain = _WithoutColours(
        logging.Formatter("[%(asctime)s] %(name)s %(levelname)s: %(message)s", datefmt=_DATE_FORMAT)
    )

    if configure_stdout and distributed_rank == 0:
        if abbrev_name is None:
            abbrev_name = "d2" if name == "detectron2" else name
        colorful = _ColorfulFormatter(
            colored("[%(asctime)s %(name)s]: ", "green") + "%(message)s",
            datefmt=_DATE_FORMAT,
            root_name=name,
            abbrev_name=str(abbrev_name),
        )
        if not sys.stdout.isatty():  # but a file
            colorful = _WithoutColours(colorful)
        _add_handler(logger, sys.stdout, colorful if color else plain)
    if output is not None:
        _add_handler(logger, _cached_log_stream(_log_file(output, distributed_rank)), plain)
    return logger


def _add_handler(logger, stream, formatter):
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.DEBUG)
    handler.setFormatter(formatter)
    logger.addHandler(handler)


def _log_file(output, rank):
    path = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    if rank > 0:
        path += f".rank{rank}"
    PathManager.mkdirs(os.path.dirname(path))
    return path


@functools.cache  # loggers of several packages share one open file
def _cached_log_stream(filename):
    stream = PathManager.open(filename, "a", buffering=_get_log_stream_buffer_size(filename))
    atexit.register(stream.close)
    return stream


def _get_log_stream_buffer_size(filename: str) -> int:
    """Local files use the default buffering (-1), remote ones a large buffer."""
    if "://" not in filename:
        return -1
    return int(os.environ.get(D2_LOG_BUFFER_SIZE_KEY, DEFAULT_LOG_BUFFER_SIZE))


def log_first_n(lvl, msg, n=1, *, name=None, key="caller"):
    """Log the first ``n`` messages that count as the same.

    Args:
        lvl: logging level.
        msg: the message.
        n: how many to let through.
        name: logger name; default is the calling module's.
        key: what makes two messages the same: "caller" (the line of code), "message", or a
            tuple of both.
    """
    parts = (key,) if isinstance(key, str) else key
    assert len(parts) > 0
    module, caller = _find_caller()
    identity = (caller if "caller" in parts else ()) + ((msg,) if "message" in parts else ())
    _LOG_COUNTER[identity] += 1
    if _LOG_COUNTER[identity] <= n:
        logging.getLogger(name or module).log(lvl, msg)


def log_every_n(lvl, msg, n=1, *, name=None):
    """Log the first and then each ``n``-th call made from the same line."""
    module, caller = _find_caller()
    _LOG_COUNTER[caller] += 1
    if (_LOG_COUNTER[caller] - 1) % n == 0:
        logging.getLogger(name or module).log(lvl, msg)


def log_every_n_seconds(lvl, msg, n=1, *, name=None):
    """Log a line's message only if ``n`` seconds have passed since it last did."""
    module, caller = _find_caller()
    now = time.time()
    if caller not in _LOG_TIMER or now - _LOG_TIMER[caller] >= n:
        logging.getLogger(name or module).log(lvl, msg)
        _LOG_TIMER[caller] = now


def _find_caller():
    """Return the module name and the (file, line, function) that called into this file."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    module = frame.f_globals["__name__"]
    code = frame.f_code
    location = (code.co_filename, frame.f_lineno, code.co_name)
    return ("detectron2" if module == "__main__" else module), location


def create_small_table(small_dict):
    """Return a one-row table as text, with the keys of a short dict as its header."""
    return tabulate(
        [list(small_dict.values())],
        headers=list(small_dict),
        tablefmt="pipe",
        floatfmt=".3f",
        stralign="center",
        numalign="center",
    )


def _log_api_usage(identifier: str):
    """Count the use of a component in torch's (normally disabled) API usage log."""
    torch._C._log_api_usage_once("detectron2." + identifier)
