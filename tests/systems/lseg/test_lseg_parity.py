"""LSeg against what the original computed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from freeseg.parity import check_folder

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
FOLDERS = ("lseg_tiny_p16", "lseg_tiny_p32")


@pytest.fixture(params=FOLDERS)
def golden(request):
    folder = SHARED / "golden" / request.param
    if not folder.is_dir():
        pytest.skip(f"no stored outputs of the original at {folder}")
    return folder


@pytest.mark.golden
def test_logits_equal_the_originals(golden):
    checks = {check.name: check for check in check_folder("lseg", golden, 1e-4)}
    assert checks["logits"].is_ok
    assert checks["logits"].difference is not None


@pytest.mark.golden
@pytest.mark.parametrize(
    "name",
    [
        "net.scratch.head_block.depthwise.depthwise.weight",
        "net.scratch.refinenet2.resConfUnit1.bn1.running_mean",
        "net.pretrained.act_postprocess3.0.project.0.weight",
        "net.pretrained.model.pos_embed",
    ],
)
def test_a_changed_weight_is_noticed(golden, name, tmp_path):
    for file in ("config.json", "io.safetensors"):
        (tmp_path / file).symlink_to(golden / file)
    weights = load_file(golden / "model.safetensors")
    weights[name] = weights[name] + 0.05
    save_file(weights, tmp_path / "model.safetensors")
    assert not all(check.is_ok for check in check_folder("lseg", tmp_path, 1e-4))


@pytest.mark.golden
@pytest.mark.parametrize(
    ("key", "values"), [("activation", ("tanh", "relu")), ("block_depth", (1, 4))]
)
def test_the_configuration_is_heeded(golden, key, values, tmp_path):
    for file in ("io.safetensors", "model.safetensors"):
        (tmp_path / file).symlink_to(golden / file)
    stored = json.loads((golden / "config.json").read_text())
    other = values[0] if stored[key] != values[0] else values[1]
    (tmp_path / "config.json").write_text(json.dumps({**stored, key: other}))
    assert not all(check.is_ok for check in check_folder("lseg", tmp_path, 1e-4))
