"""Configured loggers and rate-limited messages."""

from __future__ import annotations

import logging
import uuid

import pytest

from detectron2.utils import logger as module
from detectron2.utils.logger import (
    create_small_table,
    log_every_n,
    log_every_n_seconds,
    log_first_n,
    setup_logger,
)


@pytest.fixture
def name():
    """A package name of its own, since loggers live as long as the process."""
    name = f"d2lite_{uuid.uuid4().hex}"
    yield name
    for handler in logging.getLogger(name).handlers:
        handler.close()


@pytest.fixture(autouse=True)
def _fresh_limits(monkeypatch):
    monkeypatch.setattr(module, "_LOG_COUNTER", type(module._LOG_COUNTER)())
    monkeypatch.setattr(module, "_LOG_TIMER", {})


def test_stdout_has_short_names(name, capsys):
    setup_logger(color=True, name=name, abbrev_name="short")
    logging.getLogger(f"{name}.part").warning("careful")
    line = capsys.readouterr().out
    assert "short.part" in line
    assert "WARNING" in line
    assert "careful" in line
    assert name not in line


def test_file_lines_name_the_level(name, tmp_path, capsys):
    setup_logger(str(tmp_path), color=False, name=name)
    logging.getLogger(f"{name}.part").debug("hello")
    _flush(name)
    line = (tmp_path / "log.txt").read_text()
    assert line.rstrip().endswith(f"{name}.part DEBUG: hello")
    assert capsys.readouterr().out == line


def test_other_ranks_only_write_their_file(name, tmp_path, capsys):
    setup_logger(str(tmp_path / "run.log"), 2, name=name)
    logging.getLogger(name).info("from two")
    _flush(name)
    assert "from two" in (tmp_path / "run.log.rank2").read_text()
    assert capsys.readouterr().out == ""


def test_second_call_adds_no_handlers(name, capsys):
    first = setup_logger(color=False, name=name)
    assert setup_logger(color=False, name=name) is first
    first.info("once")
    assert capsys.readouterr().out.count("once") == 1


def test_stdout_and_propagation_are_optional(name, capsys, caplog):
    logger = setup_logger(name=name, configure_stdout=False, enable_propagation=True)
    logger.info("upwards")
    assert capsys.readouterr().out == ""
    assert caplog.messages == ["upwards"]
    assert setup_logger(name=name + "x", configure_stdout=False).propagate is False


def _flush(name):
    for handler in logging.getLogger(name).handlers:
        handler.flush()


def test_log_first_n_counts_per_line(caplog):
    caplog.set_level(logging.INFO)
    for i in range(5):
        log_first_n(logging.INFO, f"a{i}", n=2)
        log_first_n(logging.INFO, f"b{i}")
    assert caplog.messages == ["a0", "b0", "a1"]
    assert caplog.records[0].name == __name__


def test_log_first_n_counts_per_message(caplog):
    caplog.set_level(logging.INFO)
    for message in ("x", "y", "x"):
        log_first_n(logging.INFO, message, key="message")
    log_first_n(logging.INFO, "y", key="message")
    for message in ("x", "x", "z"):
        log_first_n(logging.INFO, message, key=("caller", "message"))
    assert caplog.messages == ["x", "y", "x", "z"]


def test_log_every_n(caplog):
    caplog.set_level(logging.INFO)
    for i in range(7):
        log_every_n(logging.INFO, str(i), n=3)
        log_every_n(logging.INFO, f"all {i}", name="elsewhere")
    assert [m for m in caplog.messages if "all" not in m] == ["0", "3", "6"]
    assert sum("all" in m for m in caplog.messages) == 7
    assert {r.name for r in caplog.records} == {__name__, "elsewhere"}


def test_log_every_n_seconds(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    now = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    for step in range(6):
        now[0] = 1000.0 + step
        log_every_n_seconds(logging.INFO, f"s{step}", n=2.5)
    assert caplog.messages == ["s0", "s3"]


def test_create_small_table():
    table = create_small_table({"AP": 12.3456, "name": "x"})
    header, rule, row = table.splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["AP", "name"]
    assert set(rule) <= set("|:-")
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["12.346", "x"]
