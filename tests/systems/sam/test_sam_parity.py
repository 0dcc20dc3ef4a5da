"""SAM and MobileSAM against what the originals computed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from freeseg import Segmenter, build_model
from freeseg.parity import Golden, check_folder
from freeseg.systems.sam.parity import NOT_COMPARED, config_of

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
FOLDERS = ("sam_tiny", "sam_tiny/mobile")


def folder_of(name: str) -> Path:
    folder = SHARED / "golden" / name
    if not folder.is_dir():
        pytest.skip(f"no stored outputs of the original at {folder}")
    return folder


@pytest.fixture(params=FOLDERS)
def golden(request):
    return folder_of(request.param)


@pytest.fixture(scope="module")
def stored():
    golden = Golden.read(folder_of("sam_tiny"), "sam")
    model = build_model(config_of(json.loads((golden.folder / "config.json").read_text()))).eval()
    golden.fill(model)
    return Segmenter(model), golden.tensors


@pytest.mark.golden
def test_all_that_is_stored_and_no_input_equals_the_originals(golden):
    checks = check_folder("sam", golden, 1e-4)
    assert [str(check) for check in checks if not check.is_ok] == []
    compared = [check.name for check in checks if check.difference is not None]
    assert len(compared) >= 10
    assert {check.name for check in checks} - set(compared) <= set(NOT_COMPARED)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("sam_tiny", "image_encoder.blocks.1.attn.rel_pos_h"),
        ("sam_tiny", "prompt_encoder.not_a_point_embed.weight"),
        ("sam_tiny", "prompt_encoder.mask_downscaling.4.bias"),
        ("sam_tiny", "mask_decoder.transformer.layers.1.norm4.weight"),
        ("sam_tiny", "mask_decoder.output_hypernetworks_mlps.3.layers.2.weight"),
        ("sam_tiny/mobile", "image_encoder.layers.2.blocks.1.attn.attention_biases"),
        ("sam_tiny/mobile", "image_encoder.layers.0.downsample.conv2.bn.running_var"),
    ],
)
def test_a_changed_weight_is_noticed(folder, name, tmp_path):
    golden = folder_of(folder)
    for file in ("config.json", "io.safetensors"):
        (tmp_path / file).symlink_to(golden / file)
    weights = load_file(golden / "model.safetensors")
    weights[name] = weights[name] * 1.2  # an added number falls out of a softmax
    save_file(weights, tmp_path / "model.safetensors")
    assert not all(check.is_ok for check in check_folder("sam", tmp_path, 1e-4))


@pytest.mark.golden
def test_a_click_in_a_session_is_the_predictors(stored):
    segmenter, tensors = stored
    session = segmenter.open(tensors["predictor.photo"].numpy())
    found = session(points=tensors["predictor.click.coords"]).objects
    order = tensors["predictor.click.iou"].argsort(descending=True)
    torch.testing.assert_close(
        torch.from_numpy(found.qualities), tensors["predictor.click.iou"][order], atol=1e-4, rtol=0
    )
    assert (found.masks == tensors["predictor.click.masks"][order].bool().numpy()).all()
    assert found.choices.tolist() == [0, 1, 2]


@pytest.mark.golden
def test_a_refinement_in_a_session_is_the_predictors_with_its_logits(stored):
    """The stored one goes on from the first mask of a box; a session from the one it has chosen."""
    segmenter, tensors = stored
    session = segmenter.open(tensors["predictor.photo"].numpy())
    first = session(boxes=tensors["predictor.refine.box"])
    refined = session.refine(
        _with_logits(first, tensors["predictor.refine.mask_input"]),
        points=tensors["predictor.refine.coords"],
        signs=tensors["predictor.refine.labels"],
        alternatives=False,
    ).objects
    assert refined.qualities == pytest.approx(tensors["predictor.refine.iou"].numpy(), abs=1e-4)
    assert (refined.masks == tensors["predictor.refine.masks"].bool().numpy()).all()


@pytest.mark.golden
def test_boxes_in_a_session_are_all_answered(stored):
    segmenter, tensors = stored
    session = segmenter.open(tensors["predictor.photo"].numpy())
    found = session(boxes=tensors["predictor.boxes.boxes"], alternatives=False).objects
    assert found.owners.tolist() == [0, 1, 2]
    assert found.choices.tolist() == [0, 0, 0]


def _with_logits(answer, logits):
    return replace(answer, answer=replace(answer.answer, logits=logits))
