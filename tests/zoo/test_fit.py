"""Weights that are not of their configuration are said by `info` and refused by `convert`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from freeseg.cli import main

sys.path.insert(0, str(Path(__file__).parents[1]))
from hugging_face_ports import mask2former_pair


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id2label": {str(label): f"c{label}" for label in range(9)}}, "of 7 classes, .* has 9"),
        ({"hidden_dim": 32}, r": sem_seg_head\.predictor\..* \[64\], wanted \[32\], .* more"),
        ({"decoder_layers": 5}, r" are missing or of another shape: .*_layers\.2\..* more"),
        ({"decoder_layers": 2}, r" weights are unknown to it: .*_layers\.1\..* more"),
    ],
    ids=["classes", "width", "more layers", "fewer layers"],
)
def test_a_configuration_that_contradicts_the_weights(tmp_path, capsys, change, message) -> None:
    mask2former_pair(tmp_path, "swin")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    wanted = rf"weights {tmp_path}/model\.safetensors do not fit the model: .*{message}"
    for output in ("new.pth", "new"):
        assert main(["convert", str(tmp_path), "--output", str(tmp_path / output)]) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert_matches(line, f"freeseg: error: {wanted}")
        assert not (tmp_path / output).exists()
    assert main(["info", str(tmp_path)]) == 0
    [line] = [row for row in capsys.readouterr().out.splitlines() if row.startswith("problem")]
    assert_matches(line, f"problem +{wanted}")


def test_weights_that_are_no_numbers(tmp_path, capsys) -> None:
    mask2former_pair(tmp_path, "swin")
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    state["class_predictor.bias"][:] = float("nan")
    save_file(state, file)
    reason = f"{file} holds NaN in 1 of {len(state)} weights, the first is class_predictor.bias"
    for source in (tmp_path, file):
        capsys.readouterr()
        assert main(["info", str(source)]) == 0
        assert f"problem     {reason}\n" in capsys.readouterr().out
        assert main(["convert", str(source), "--output", str(tmp_path / "new.pth")]) == 2
        assert capsys.readouterr().err.endswith(f"freeseg: error: {reason}\n")


def test_a_folder_that_fits_has_no_problem(tmp_path, capsys) -> None:
    mask2former_pair(tmp_path, "swin")
    for source in (str(tmp_path), "camvid-mask2former", "camvid"):
        assert main(["info", source]) == 0
        assert "problem" not in capsys.readouterr().out


def assert_matches(text: str, pattern: str) -> None:
    assert re.fullmatch(pattern, text), text
