from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

from freeseg.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "export_model.py"
CONFIG = REPOSITORY / "configs" / "Base-Mask2Former-small.yaml"
SMALL = [
    *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3", "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS", "1"),
    *("MODEL.MASK_FORMER.DEC_LAYERS", "2", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "4"),
]


def run(monkeypatch, *arguments):
    words = ["export_model.py", *map(str, arguments), "--opts", *SMALL]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    return stop.value.code


@pytest.mark.slow
def test_a_program_is_written_and_compared(monkeypatch, tmp_path, capsys):
    output = tmp_path / "new" / "model.pt2"
    arguments = ["--config-file", CONFIG, "--weights", "", "--size", "64", "64"]
    assert run(monkeypatch, output, *arguments) == 0
    assert "mask_logits: within" in capsys.readouterr().out
    class_logits, mask_logits = torch.export.load(output).module()(torch.zeros(1, 3, 64, 64))
    assert class_logits.shape == (1, 4, 4)
    assert mask_logits.shape == (1, 4, 16, 16)


@pytest.mark.slow
def test_a_model_is_exported_by_its_name(tmp_path, capsys):
    output = str(tmp_path / "model.pt2")
    command = ["export-model", output, "--model", "camvid-mask2former", "--size", "64", "64"]
    assert main([*command, "--opts", "MODEL.MASK_FORMER.DEC_LAYERS", "2"]) == 2
    assert "weights are unknown to it" in capsys.readouterr().err
    assert main(command) == 0
    assert "mask_logits: within" in capsys.readouterr().out
    class_logits, _ = torch.export.load(output).module()(torch.zeros(1, 3, 64, 64))
    assert class_logits.shape[-1] == 12


def test_exactly_one_model_is_named(capsys):
    for names in ([], ["--model", "camvid", "--config-file", str(CONFIG)]):
        assert main(["export-model", "model.pt2", *names]) == 2
        assert "--config-file" in capsys.readouterr().err


def test_problems_are_one_line(monkeypatch, tmp_path, capsys):
    weights = ["--weights", ""]
    assert run(monkeypatch, "model.txt", "--config-file", CONFIG, *weights) == 2
    assert "ends with .onnx or .pt2, got model.txt" in capsys.readouterr().err
    assert run(monkeypatch, "model.pt2", "--config-file", tmp_path / "no.yaml", *weights) == 2
    assert "no.yaml does not exist" in capsys.readouterr().err
