"""How results are compared, and what the command says and exits with."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from freeseg.parity import Golden, check_folder, compare, same_pixels
from freeseg.parity import systems as systems_module
from freeseg.parity.systems import Comparison

TOOL = Path(__file__).resolve().parents[2] / "tools/check_parity.py"


def maps(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 5, (40, 50), generator=torch.Generator().manual_seed(seed))


def test_renamed_segments_are_the_same():
    ids = maps()
    renamed = torch.tensor([0, 7, 300, 2, 9])[ids]  # void stays void
    assert same_pixels(ids, renamed) == 1.0
    assert same_pixels(renamed, ids) == 1.0


def test_void_is_no_segment_and_two_segments_have_two_names():
    ids = torch.tensor([[0, 0, 1, 1]])
    assert same_pixels(ids, ids + 1) == 0.5  # void that became a segment
    assert same_pixels(torch.tensor([[1, 1, 2, 2]]), torch.tensor([[5, 5, 5, 5]])) == 0.5
    assert same_pixels(ids * 0, ids * 0) == 1.0


def test_single_pixels_count():
    ids = maps()
    changed = ids.clone()
    changed[0, :3] = (changed[0, :3] + 1) % 5
    assert same_pixels(ids, changed) == pytest.approx(1 - 3 / 2000)


def test_every_stored_tensor_gets_a_verdict():
    stored = {
        "image": torch.ones(1),
        "near": torch.ones(2),
        "far": torch.ones(2),
        "missing": torch.ones(1),
        "shape": torch.ones(2),
        "nan": torch.ones(1),
        "empty": torch.ones(0),
        "x.panoptic_seg": maps(),
    }
    found = {
        "near": torch.tensor([1.0, 1.00005]),
        "far": torch.tensor([1.0, 1.01]),
        "shape": torch.ones(3),
        "nan": torch.tensor([math.nan]),
        "empty": torch.ones(0),
        "x.panoptic_seg": maps() * 3,
    }
    checks = {one.name: one for one in compare(stored, found, 1e-4, {"image": "the input"})}
    assert {name for name, one in checks.items() if not one.is_ok} == {
        "far",
        "missing",
        "shape",
        "nan",
    }
    assert checks["far"].difference == pytest.approx(0.01, rel=1e-3)
    assert checks["image"].difference is None
    assert "not computed" in str(checks["missing"])
    assert str(checks["near"]).startswith("ok    near: 4.99e-05 <= 0.0001")


def test_a_map_may_differ_in_one_pixel_of_a_thousand():
    ids = torch.ones(50, 40, dtype=torch.int64)
    for pixels, is_ok in ((2, True), (3, False)):
        changed = ids.clone()
        changed[0, :pixels] = 2
        (check,) = compare({"panoptic_seg": ids}, {"panoptic_seg": changed}, 1e-4, {})
        assert check.is_ok is is_ok


@pytest.mark.parametrize(("offset", "code"), [(0.0, 0), (1.0, 1)])
def test_the_command_exits_by_the_verdict(tmp_path, monkeypatch, capsys, offset, code):
    save_file({"image": torch.ones(1), "out": torch.zeros(2)}, tmp_path / "io.safetensors")
    save_file({"clip_adapter.a": torch.ones(1)}, tmp_path / "model.safetensors")
    system = Comparison(
        lambda golden: {"out": golden.tensors["image"] - 1 + offset + torch.zeros(2)}
    )
    fake = {"freeseg": Comparison(system.run, {"image": "the input"})}
    monkeypatch.setattr(systems_module, "COMPARISONS", fake)
    arguments = ["--system", "freeseg", "--golden", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["check_parity.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == code
    shown = capsys.readouterr().out
    assert f"out: {offset:.3g} <= 0.0001" in shown
    assert f"{1 - code} of 1 compared tensors agree" in shown


def test_a_folder_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    arguments = ["--system", "freeseg", "--golden", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", ["check_parity.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_of_another_system_is_refused(tmp_path):
    save_file({"image": torch.ones(1)}, tmp_path / "io.safetensors")
    save_file({"clip_adapter.a": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"is not of mask2former: .* those of freeseg"):
        check_folder("mask2former", tmp_path, 1e-4)


def test_weights_that_do_not_fill_a_model_and_unknown_facts_are_one_line(tmp_path):
    save_file({"image": torch.ones(1)}, tmp_path / "io.safetensors")
    save_file({"clip_adapter.weight": torch.ones(2, 3)}, tmp_path / "model.safetensors")
    golden = Golden.read(tmp_path, "freeseg")
    model = torch.nn.ModuleDict({"clip_adapter": torch.nn.Linear(3, 2)})
    with pytest.raises(
        ValueError, match=r"do not fit the model: 1 of its 2 .*: clip_adapter\.bias"
    ):
        golden.fill(model)
    with pytest.raises(ValueError, match=r"meta\.json is not there or has no 'classes'"):
        golden.about("classes")
