"""A disk that is full ends a job at once, in one line: nothing else is tried."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

from freeseg.files import WriteError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


class Stop(BaseException):
    """Carries an error out of Detectron2's loop, which logs a traceback of every Exception."""

    def __init__(self, error: WriteError) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def stopping(folder: str) -> Iterator[None]:
    """Turns a failure to write inside Detectron2's loop into a Stop; `folder` is where to."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        fault = _write_error(error, folder)
        if fault is None:
            raise
        raise Stop(fault) from error


def is_stopping() -> bool:
    """Whether a Stop is on its way."""
    return isinstance(sys.exc_info()[1], Stop)


@contextlib.contextmanager
def one_line_if_full(folder: str) -> Iterator[None]:
    """Turns a Stop, or another failure to write, into its WriteError; the log is silent about it.

    Raises:
        WriteError: The first that could not be written.
    """
    are_told, hook = logging.raiseExceptions, threading.excepthook
    logging.raiseExceptions, threading.excepthook = False, _of_other_faults
    try:
        yield
    except (OSError, RuntimeError, Stop) as error:
        fault = error.error if isinstance(error, Stop) else _write_error(error, folder)
        if fault is None:
            raise
        raise fault from error
    finally:
        logging.raiseExceptions, threading.excepthook = are_told, hook
        _give_up_full_logs()


def _write_error(error: BaseException, folder: str) -> WriteError | None:
    """The failure to write that is behind an error, if one is."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, WriteError):
            return cause
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            name = cause.filename or f"a file in {folder}"
            return WriteError(f"{name} cannot be written: {cause.strerror}")
        cause = cause.__cause__ or cause.__context__  # PyTorch has its own words for a full disk
    return None


def _of_other_faults(args: Any) -> None:
    """Of a thread: TensorBoard's writes, and what it cannot write its caller hears of."""
    if args.exc_value is None or _write_error(args.exc_value, "") is None:
        threading.__excepthook__(args)


def _give_up_full_logs() -> None:
    """Closes log files that cannot be written; else Python tries again when it ends, aloud."""
    for name in ("detectron2", "fvcore", "freeseg"):
        one = logging.getLogger(name)
        for handler in list(one.handlers):
            stream = getattr(handler, "stream", sys.stdout)
            if stream in (sys.stdout, sys.stderr):
                continue
            try:
                stream.flush()
            except (OSError, ValueError):  # full, or closed for another of these loggers
                one.removeHandler(handler)
                with contextlib.suppress(OSError):
                    stream.close()
