"""What is wrong before the first step is told in one line."""

from __future__ import annotations

import logging

import pytest

from detectron2.engine import default_argument_parser
from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.problems import RefusalError
from freeseg.engine.beginning import JobError, beginning, require_output_folder
from freeseg.engine.job_log import begin_log, held_log


@pytest.mark.parametrize("kind", [ValueError, OSError, NotImplementedError, FileNotFoundError])
def test_values_and_files_that_cannot_be_used_are_one_line(kind):
    fault = kind("wanted this,\n  got\tthat")
    with pytest.raises(JobError) as told, beginning():
        raise fault
    assert told.value.problems == ("wanted this, got that",)
    assert told.value.__cause__ is fault


@pytest.mark.parametrize(
    "fault", [RefusalError(["a", "b"]), MissingDataError("x"), RuntimeError("a bug"), KeyError("k")]
)
def test_errors_with_lines_of_their_own_and_bugs_pass(fault):
    with pytest.raises(type(fault)) as told, beginning():
        raise fault
    assert told.value is fault


def test_results_are_written_into_folders_alone(tmp_path):
    (tmp_path / "file").touch()
    for good in (tmp_path, tmp_path / "new/deeper"):
        require_output_folder(str(good))
    for bad in ("file", "file/below", "file/below/deeper"):
        path = tmp_path / bad
        with pytest.raises(ValueError, match=f"OUTPUT_DIR is {path}, but {tmp_path / 'file'} is a"):
            require_output_folder(str(path))


def test_what_is_held_comes_in_its_order_after_the_beginning(tiny_config, tmp_path, capsys):
    names = ("freeseg.engine.x", "detectron2.y", "fvcore.z")
    loggers = [logging.getLogger(name.split(".")[0]) for name in names]
    for one in loggers:
        one.setLevel(logging.WARNING)
        one.propagate = name_is_kept = True
    with held_log() as held:
        for number, name in enumerate(names):
            logging.getLogger(name).debug("held %d", number)
        assert capsys.readouterr() == ("", "")
    assert [(one.level, one.propagate, one.handlers) for one in loggers] == [
        (logging.WARNING, name_is_kept, [])
    ] * 3
    assert held.qsize() == 3
    begin_log(tiny_config(), default_argument_parser().parse_args(["A", "b"]), held)
    written = (tmp_path / "log.txt").read_text()
    places = [
        written.index(part)
        for part in ("Process 0 of 1", "Environment:", "opts=['A', 'b']", "Configuration:")
    ]
    places += [written.index(f"held {number}") for number in range(3)]
    assert places == sorted(places)
    assert "held 0" in capsys.readouterr().out
    assert held.empty()


def test_what_is_held_when_it_fails_is_let_go():
    one = logging.getLogger("freeseg")
    handler = logging.NullHandler()
    one.addHandler(handler)
    with pytest.raises(ZeroDivisionError), held_log():
        one.handlers[0].level / 0
    assert one.handlers == [handler]
