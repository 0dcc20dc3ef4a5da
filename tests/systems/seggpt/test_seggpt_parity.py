"""SegGPT and Painter against what the originals computed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from freeseg import build_model
from freeseg.parity import Golden, check_folder
from freeseg.systems.seggpt.parity import NOT_COMPARED, config_of

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))


@pytest.fixture(scope="module")
def folder() -> Path:
    found = SHARED / "golden" / "seggpt_tiny"
    if not found.is_dir():
        pytest.skip(f"no stored outputs of the original at {found}")
    return found


@pytest.fixture(scope="module")
def stored(folder):
    golden = Golden.read(folder, "seggpt")
    model = build_model(config_of(json.loads((folder / "config.json").read_text()))).eval()
    golden.fill(model)
    return model, golden.tensors


@pytest.mark.golden
def test_all_that_is_stored_and_no_input_equals_the_originals(folder):
    checks = check_folder("seggpt", folder, 1e-4)
    assert [str(check) for check in checks if not check.is_ok] == []
    compared = [check.name for check in checks if check.difference is not None]
    assert sum(name.startswith("train.grad_over_max") for name in compared) >= 10
    assert {"video.output", "pipeline.many.mask", "painter.loss_dark"} <= set(compared)
    assert {check.name for check in checks} - set(compared) <= set(NOT_COMPARED)


@pytest.mark.golden
@pytest.mark.parametrize(
    "name",
    [
        *("blocks.23.attn.rel_pos_h", "blocks.0.attn.rel_pos_w", "pos_embed", "mask_token"),
        *("type_token_ins", "decoder_embed.bias", "decoder_pred.1.weight", "segment_token_y"),
    ],
)
def test_a_spoiled_weight_is_noticed(folder, tmp_path, name):
    for file in folder.iterdir():
        if file.name != "model.safetensors":
            (tmp_path / file.name).symlink_to(file)
    weights = load_file(folder / "model.safetensors")
    assert name in weights
    torch.manual_seed(0)  # a constant would be lost in the norms, or in a softmax
    spoiled = weights[name] + 0.1 * torch.randn_like(weights[name])
    save_file({**weights, name: spoiled}, tmp_path / "model.safetensors")
    assert not all(check.is_ok for check in check_folder("seggpt", tmp_path, 1e-4))


@pytest.mark.golden
@torch.inference_mode()
def test_the_order_of_examples_counts_in_the_releases_first_row_alone(stored):
    """And there only because the release takes the row above from its first example."""
    model, tensors = stored
    network = model.network
    photos, targets, query = (
        (tensors[name].movedim(-1, -3) - model.pixel_mean) / model.pixel_std
        for name in ("prompt_images", "prompt_targets", "query_image")
    )

    def painted(order):
        stream = network.target_stream(targets[order], 0)
        patches = network.patches(query[None, None])
        seen = network.photo_stream(network.patches(photos[order]), patches, 0)
        return network.after_merge(network.merged(stream, seen), upper_rows=1)

    first, second = painted([0, 1, 2, 3]), painted([3, 2, 1, 0])
    released = [network.decode(taps.lower[:, 0], taps.upper[:, 0, -1]) for taps in (first, second)]
    difference = (released[0] - released[1]).abs().amax((0, 1, 3))
    assert difference[0] > 0.1
    assert difference[1:].max() < 1e-4
    ours = [
        network.decode(taps.lower[:, 0], taps.upper[:, :, -1].mean(1)) for taps in (first, second)
    ]
    torch.testing.assert_close(*ours, atol=1e-4, rtol=0)
