from __future__ import annotations

import pytest

from freeseg.engine.hooks import MetricsWriter, forget_metrics_after

LINES = ['{"iteration": 4}', '{"iteration": 9, "x": 1}', '{"iteration": 14}']


@pytest.mark.parametrize(
    ("content", "iteration", "kept"),
    [
        (LINES, 14, 3),
        (LINES, 13, 2),
        (LINES, 9, 2),
        (LINES, -1, 0),
        ([LINES[0], "not json", LINES[1]], 99, 1),
        ([], 3, 0),
    ],
    ids=["all", "later", "equal", "none", "damaged", "empty"],
)
def test_metrics_after_the_checkpoint_are_forgotten(tmp_path, content, iteration, kept):
    file = tmp_path / "metrics.json"
    file.write_text("".join(line + "\n" for line in content))
    forget_metrics_after(file, iteration)
    assert file.read_text().splitlines() == content[:kept]


def test_half_written_line_is_forgotten(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text(LINES[0] + "\n" + LINES[1])
    forget_metrics_after(file, 99)
    assert file.read_text() == LINES[0] + "\n"


def test_open_writer_appends_after_the_cut(tmp_path):
    file = tmp_path / "metrics.json"
    file.write_text("\n".join(LINES) + "\n")
    with file.open("a") as writer:
        forget_metrics_after(file, 4)
        writer.write('{"iteration": 5}\n')
    assert file.read_text() == LINES[0] + '\n{"iteration": 5}\n'


def test_missing_metrics_file_is_fine(tmp_path):
    forget_metrics_after(tmp_path / "metrics.json", 3)
    assert list(tmp_path.iterdir()) == []


def test_log_period_must_be_positive():
    with pytest.raises(ValueError, match="LOG_PERIOD must be at least 1, got 0"):
        MetricsWriter([], 0, 10)
