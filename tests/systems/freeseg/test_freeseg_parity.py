"""FreeSeg against what the original computed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from freeseg.parity import check_folder

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
GOLDEN = SHARED / "golden/freeseg_tiny"


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.is_dir():
        pytest.skip(f"no stored outputs of the original at {GOLDEN}")
    return GOLDEN


@pytest.mark.golden
@pytest.mark.slow
def test_every_tensor_equals_the_originals(golden):
    checks = check_folder("freeseg", golden, 1e-4)
    assert [str(check) for check in checks if not check.is_ok] == []
    compared = {check.name for check in checks if check.difference is not None}
    assert {"semantic.sem_seg", "panoptic.panoptic_seg", "instance.query_embeddings"} <= compared
    assert len(compared) == 11


@pytest.mark.golden
@pytest.mark.slow
def test_a_changed_weight_is_noticed(golden, tmp_path):
    for name in ("config.yaml", "meta.json", "io.safetensors"):
        (tmp_path / name).symlink_to(golden / name)
    weights = load_file(golden / "model.safetensors")
    name = "clip_adapter.prompt_learner.task_prompt"
    weights[name] += torch.linspace(-0.1, 0.1, weights[name].shape[1])
    save_file(weights, tmp_path / "model.safetensors")
    failed = {check.name for check in check_folder("freeseg", tmp_path, 1e-4) if not check.is_ok}
    assert {"semantic.text_features", "panoptic.query_embeddings"} <= failed
