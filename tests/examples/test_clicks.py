"""The example that draws a dialogue of clicks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_systems import tiny_click, tiny_click_config

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "clicks.py"


def test_it_draws_readings_a_dialogue_and_everything(tmp_path):
    photo, model = tmp_path / "photo.png", tmp_path / "model"
    model.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(
        photo
    )
    (model / "config.yaml").write_text(tiny_click_config().dump())
    torch.save({"model": tiny_click().state_dict()}, model / "model_final.pth")
    clicks = ["20,30", "40,30", "5,5,off"]
    run = [sys.executable, EXAMPLE, photo, *clicks, "--model", model, "--output", tmp_path / "out"]
    found = subprocess.run([*map(str, run)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    sizes = {path.stem: Image.open(path).size for path in (tmp_path / "out").iterdir()}
    strip = 3 * 64 + 2 * 6, 48
    assert sizes == {"readings": strip, "dialogue": strip, "everything": (64, 48)}
