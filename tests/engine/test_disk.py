"""A full disk ends a training at once: one line, exit code 2, and nothing else is tried."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import pytest

from freeseg.engine import AtomicCheckpointer, start_job
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
