"""Log files can be read: colours are for terminals."""

from __future__ import annotations

import pytest
from termcolor import colored

import detectron2
from detectron2.utils.logger import setup_logger

pytestmark = pytest.mark.skipif(
    not detectron2.__version__.endswith("+lite"), reason="the real one colours its files"
)


def test_a_file_has_no_colour_codes(tmp_path, capsys) -> None:
    name = "test_a_file_has_no_colour_codes"
    logger = setup_logger(str(tmp_path), name=name)
    logger.warning("a table:\n%s", colored("| car |", "cyan", force_color=True))
    for handler in logger.handlers:
        handler.flush()
    written = (tmp_path / "log.txt").read_text()
    assert "WARNING: a table:\n| car |\n" in written
    assert "\x1b" not in written
    assert "\x1b" not in capsys.readouterr().out, "which is no terminal"
