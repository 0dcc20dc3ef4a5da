"""A full disk ends a training at once: one line, exit code 2, and nothing else is tried."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import sys
import threading
from pathlib import Path

import pytest

from freeseg.engine import AtomicCheckpointer, start_job
from freeseg.engine.disk import Stop, is_stopping, one_line_if_full, stopping
from freeseg.files import WriteError
from freeseg_command.messages import USAGE_ERROR, exit_code_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from full_disk import full_disk

STEPS = ("SOLVER.MAX_ITER", 3, "SOLVER.CHECKPOINT_PERIOD", 1, "TEST.EVAL_PERIOD", 1)


@pytest.fixture
def ended(tiny_arguments, one_thread, capsys):
    """Runs the tiny job as the command does; gives its exit code and what it said of errors."""

    def run(*options, flags=()):
        parsed = tiny_arguments(*options, flags=flags)
        args = argparse.Namespace(**vars(parsed), errors_are_lines=False)
        code = exit_code_of(lambda: start_job(args), args)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return code, printed.err.splitlines()

    return run


@pytest.mark.parametrize("room", [0, 100, 6000, 12_000])
def test_a_training_that_cannot_write_ends_with_one_line(ended, tmp_path, room):
    with full_disk(room):
        code, lines = ended(*STEPS)
    assert code == USAGE_ERROR
    assert len(lines) == 1, lines
    assert "cannot be written: File too large" in lines[0]
    assert not list(tmp_path.glob(".*")), "no partial file"


WRITES = {
    "model_0000000": "a checkpoint",
    "model_best": "the best model",
    "model_final": "the last model",
}


@pytest.mark.parametrize("name", WRITES, ids=WRITES.values())
def test_nothing_is_written_after_the_first_failure(ended, monkeypatch, name):
    asked, save = [], AtomicCheckpointer.save

    def saved(self, which, **content):
        asked.append(which)
        if which == name:
            with full_disk(10):
                return save(self, which, **content)
        return save(self, which, **content)

    monkeypatch.setattr(AtomicCheckpointer, "save", saved)
    code, lines = ended(*STEPS)
    assert code == USAGE_ERROR
    assert len(lines) == 1
    assert f"{name}.pth cannot be written: File too large" in lines[0]
    assert asked[-1] == name
    assert logging.raiseExceptions


@pytest.mark.parametrize("room", [0, 100, 6000, 12_000])
def test_an_evaluation_that_cannot_write_ends_with_one_line(ended, room):
    with full_disk(room):
        code, lines = ended("MODEL.WEIGHTS", "", flags=["--eval-only"])
    assert code == USAGE_ERROR
    assert len(lines) == 1, lines
    assert "cannot be written: File too large" in lines[0]


def test_in_two_processes_it_is_one_line_too(in_two_processes, monkeypatch, capfd):
    def fail(self, which, **content):
        raise WriteError(f"{which}.pth cannot be written: No space left on device")

    monkeypatch.setattr(AtomicCheckpointer, "save", fail)
    with pytest.raises(ValueError, match=r"model_best\.pth cannot be written: No space") as error:
        in_two_processes(*STEPS)
    assert error.value.problems == ("model_best.pth cannot be written: No space left on device",)
    assert "Traceback" not in capfd.readouterr().err


FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS]


def caused(by: BaseException, kind: type[Exception] = RuntimeError) -> BaseException:
    """An error raised because of another, as PyTorch's writer does."""
    try:
        try:
            raise by
        finally:
            raise kind("unexpected pos 64 vs 0")
    except kind as error:
        return error


@pytest.mark.parametrize("number", FULL)
@pytest.mark.parametrize("name", ["a.pth", None])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_failure_to_write_behind_an_error_is_told(number, name, depth):
    error: BaseException = OSError(number, os.strerror(number), name)
    for _ in range(depth):
        error = caused(error)
    with pytest.raises(WriteError) as told, one_line_if_full("out"):
        raise error
    assert str(told.value) == f"{name or 'a file in out'} cannot be written: {os.strerror(number)}"
    assert told.value.__cause__ is error


def test_the_first_write_error_is_told_as_it_is():
    first = WriteError("x cannot be written: full")
    for error in (first, caused(first), Stop(first)):
        with pytest.raises(WriteError) as told, one_line_if_full("out"):
            raise error
        assert told.value is first


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "x"), RuntimeError("a bug"), KeyError("k")]
)
def test_other_errors_pass_as_they_are(error):
    for guard in (one_line_if_full, stopping):
        with pytest.raises(type(error)) as told, guard("out"):
            raise error
        assert told.value is error


def test_a_loop_is_left_by_what_no_handler_of_exceptions_catches():
    fault = OSError(errno.ENOSPC, "No space left", "x.pth")
    with pytest.raises(Stop) as told, stopping("out"):
        raise fault
    assert not isinstance(told.value, Exception)
    assert str(told.value.error) == str(told.value) == "x.pth cannot be written: No space left"
    assert told.value.__cause__ is fault


def test_whether_a_stop_is_on_its_way():
    seen = [is_stopping()]
    for error in (Stop(WriteError("x")), ValueError("y")):
        try:
            raise error
        except BaseException:
            seen.append(is_stopping())
    assert seen == [False, True, False]


def test_logging_and_threads_are_as_before(monkeypatch, capsys):
    told, silent = [], []
    monkeypatch.setattr(threading, "__excepthook__", lambda args: told.append(args.exc_value))
    hook = threading.excepthook
    bug = ValueError("a bug")

    def fail():
        silent.append(logging.raiseExceptions)
        for error in (OSError(errno.ENOSPC, "full"), bug, None):
            threading.excepthook(argparse.Namespace(exc_value=error))
        raise KeyError

    with pytest.raises(KeyError), one_line_if_full("out"):
        fail()
    assert (told, silent) == ([bug, None], [False])
    assert logging.raiseExceptions is True
    assert threading.excepthook is hook


class Stream(io.StringIO):
    def __init__(self, fault=None):
        super().__init__()
        self.fault, self.flushed = fault, 0

    def flush(self):
        self.flushed += 1
        if self.fault:
            raise self.fault


def test_log_files_that_cannot_be_written_are_given_up():
    full, fine = Stream(OSError(errno.ENOSPC, "full")), Stream()
    gone = Stream(ValueError("closed"))
    one, other = logging.getLogger("freeseg"), logging.getLogger("fvcore")
    for stream in (sys.stdout, full, fine, gone, sys.stderr):
        one.addHandler(logging.StreamHandler(stream))
    one.addHandler(logging.NullHandler())
    other.addHandler(logging.StreamHandler(full))
    with one_line_if_full("out"):
        pass
    assert [getattr(handler, "stream", None) for handler in one.handlers] == [
        *(sys.stdout, fine, sys.stderr, None)
    ]
    assert other.handlers == []
    assert (full.closed, fine.closed, gone.closed) == (True, False, True)
    assert fine.flushed
