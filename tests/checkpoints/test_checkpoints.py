"""Reading without executing, renaming by tables, and converting whole files."""

from __future__ import annotations

import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from freeseg.checkpoints import (
    KEY_MAPS,
    KeyMap,
    convert_file,
    convert_state,
    read_checkpoint,
    write_checkpoint,
)
from freeseg.resources import resource
from freeseg.zoo import convert_model, load_catalog

TOOL = Path(__file__).resolve().parents[2] / "tools/convert_weights.py"


def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("wrapper", ["", "model", "state_dict"])
@pytest.mark.parametrize("suffix", ["pth", "ckpt", "pkl"])
def test_weights_are_found_in_every_wrapper_and_format(tmp_path, wrapper, suffix):
    path = tmp_path / f"weights.{suffix}"
    content = state()
    if suffix == "pkl":
        content = {key: value.numpy() for key, value in content.items()}
    content = {wrapper: content, "iteration": 3} if wrapper else content
    if suffix == "pkl":
        path.write_bytes(pickle.dumps({**content, "__author__": "someone"}))
    else:
        torch.save(content, path)
    assert same(read_checkpoint(path), state())


def test_safetensors_and_prefixes_of_parallel_training(tmp_path):
    save_file(
        {f"module.{key}": value for key, value in state().items()}, tmp_path / "w.safetensors"
    )
    assert same(read_checkpoint(tmp_path / "w.safetensors"), state())


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", ["pth", "pkl"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, suffix):
    path, trace = tmp_path / f"bomb.{suffix}", tmp_path / "exploded"
    content = {"model": {"a": Bomb(trace)}}
    if suffix == "pth":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="holds more than data"):
        read_checkpoint(path)
    assert not trace.exists()


def test_a_file_without_weights_is_named(tmp_path):
    torch.save({"model": {}, "iteration": 3}, tmp_path / "empty.pth")
    with pytest.raises(ValueError, match=r"empty\.pth holds no weights"):
        read_checkpoint(tmp_path / "empty.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_written_is_read(tmp_path, suffix):
    transposed = {**state(), "t": torch.arange(6.0).reshape(2, 3).T}
    path = tmp_path / "new" / "deeper" / f"out.{suffix}"
    write_checkpoint(transposed, path)
    assert same(read_checkpoint(path), transposed)
    with pytest.raises(ValueError, match=r"\.pth or \.safetensors, got out\.txt"):
        write_checkpoint(state(), tmp_path / "out.txt")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_half_precision_takes_half_the_room_where_values_fit(tmp_path, suffix):
    weights = {
        "fits": torch.randn(4000),
        "large": torch.tensor([1.0, 1e6]),
        "infinite": torch.tensor([-torch.inf, 1.0]),
        "count": torch.tensor([7]),
    }
    write_checkpoint(weights, tmp_path / f"full.{suffix}")
    path = tmp_path / f"half.{suffix}"
    write_checkpoint(weights, path, half=True)
    found = read_checkpoint(path)
    kept = {"large": torch.float32, "count": torch.int64}
    assert {key: value.dtype for key, value in found.items()} == {
        key: kept.get(key, torch.float16) for key in weights
    }
    torch.testing.assert_close(found["fits"].float(), weights["fits"], rtol=1e-3, atol=1e-6)
    assert torch.equal(found["large"], weights["large"])
    assert path.stat().st_size < 0.6 * (tmp_path / f"full.{suffix}").stat().st_size


def test_a_key_map_renames_drops_and_combines():
    def split(weights):
        first, second = weights.pop("both").chunk(2)
        return {**weights, "one": first, "two": second}

    key_map = KeyMap(
        "somebody",
        renames=((r"^net\.", ""), (r"\.(\d)\.w$", r".layers.\1.weight")),
        drops=(r"net\.counter",),
        combine=split,
    )
    given = {"net.x.0.w": torch.ones(1), "net.counter": torch.zeros(1), "both": torch.arange(4)}
    conversion = key_map.convert(given)
    assert set(conversion.state) == {"x.layers.0.weight", "one", "two"}
    assert conversion.state["two"].tolist() == [2, 3]
    assert conversion.renamed == {"net.x.0.w": "x.layers.0.weight"}
    assert conversion.dropped == ("net.counter",)


def test_two_weights_under_one_name_are_refused():
    key_map = KeyMap("somebody", renames=((r"\d", ""),))
    with pytest.raises(ValueError, match="two weights would both be called a"):
        key_map.convert({"a1": torch.ones(1), "a2": torch.ones(1)})


def test_freesegs_map_drops_what_is_no_weight_and_keeps_the_rest():
    kept = ["clip_adapter.prompt_learner.prefix_prompt", "clip_adapter.clip_model.logit_scale"]
    dropped = [
        "criterion.empty_weight",
        "clip_adapter.pixel_mean",
        "clip_adapter.prompt_learner.pad_signal",
        "region_clip_adapter.clip_model.logit_scale",
    ]
    weights = {key: torch.ones(1) for key in (*kept, *dropped)}
    conversion = KEY_MAPS["freeseg"].convert(weights)
    assert list(conversion.state) == kept
    assert conversion.dropped == tuple(dropped)


def test_the_tool_converts_and_says_what_is_left_out(tmp_path, monkeypatch, capsys):
    torch.save(
        {"model": {"clip_adapter.a": torch.ones(2), "criterion.empty_weight": torch.ones(3)}},
        tmp_path / "a.pth",
    )
    arguments = [str(tmp_path / "a.pth"), "--output", str(tmp_path / "b.safetensors"), "--half"]
    monkeypatch.setattr(sys, "argv", ["convert_weights.py", "--from", "freeseg", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 0
    found = load_file(tmp_path / "b.safetensors")
    assert {key: value.dtype for key, value in found.items()} == {"clip_adapter.a": torch.float16}
    shown = capsys.readouterr().out
    assert shown == f"{tmp_path / 'b.safetensors'}: 1 tensors, 0 renamed, 1 left out\n"


def test_an_encoder_alone_may_be_kept(tmp_path, monkeypatch, capsys):
    names = ("backbone.a", "sem_seg_head.pixel_decoder.b", "clip_adapter.c")
    torch.save({"model": {name: torch.ones(1) for name in names}}, tmp_path / "a.pth")
    arguments = [str(tmp_path / "a.pth"), "--output", str(tmp_path / "b.safetensors")]
    keep = ["--keep", "backbone.", "sem_seg_head.pixel_decoder."]
    monkeypatch.setattr(sys, "argv", ["convert_weights.py", "--from", "freeseg", *arguments, *keep])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 0
    assert set(load_file(tmp_path / "b.safetensors")) == set(names[:2])
    assert "2 tensors, 0 renamed, 1 left out" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no weight's name begins with neck"):
        convert_file("freeseg", tmp_path / "a.pth", tmp_path / "c.pth", keep=["neck."])
    with pytest.raises(ValueError, match=r"--keep needs a \.pth or \.safetensors file"):
        convert_model(tmp_path / "a.pth", tmp_path / "folder", "freeseg", keep=["backbone."])


def test_problems_are_one_line(tmp_path, monkeypatch, capsys):
    arguments = [str(tmp_path / "none.pth"), "--output", str(tmp_path / "b.pth")]
    monkeypatch.setattr(sys, "argv", ["convert_weights.py", "--from", "freeseg", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 2
    assert "none.pth" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"wanted one of .*freeseg.*, got 'nobody'"):
        convert_state("nobody", {}, "a")
    np.testing.assert_equal(list(tmp_path.iterdir()), [])


@pytest.mark.parametrize("named", [system for system in KEY_MAPS if system != "freeseg"])
def test_a_file_of_another_release_is_refused(tmp_path, named):
    names = ("clip_adapter.a", "sem_seg_head.predictor.b")
    torch.save({name: torch.ones(1) for name in names}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=rf"a\.pth is not of {named}: .*freeseg, such as clip_"):
        convert_file(named, tmp_path / "a.pth", tmp_path / "b.pth")
    assert not (tmp_path / "b.pth").exists()


@pytest.mark.parametrize(
    "card",
    [card for card in load_catalog().values() if card.is_bundled],
    ids=lambda card: card.name,
)
def test_what_was_trained_here_is_converted_as_it_is(card):
    """As `docs/weights.md` does before it is stored."""
    own = read_checkpoint(resource(card.weights.file))
    conversion = convert_state(card.system.lower(), own, card.weights.file)
    assert conversion.state.keys() == own.keys()
    assert not conversion.renamed


def test_names_of_no_release_are_refused(tmp_path):
    torch.save(state(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"as those of no known release, such as a\.weight"):
        convert_file("lseg", tmp_path / "a.pth", tmp_path / "b.pth")


def test_a_port_with_a_part_of_an_attention_is_refused(tmp_path, monkeypatch, capsys):
    stem = "model.pixel_level_module.encoder.encoder.layers.0.blocks.0.attention.self"
    torch.save({f"{stem}.query.weight": torch.ones(2, 2)}, tmp_path / "a.pth")
    arguments = [str(tmp_path / "a.pth"), "--output", str(tmp_path / "b.pth")]
    monkeypatch.setattr(sys, "argv", ["convert_weights.py", "--from", "hf-mask2former", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 2
    found = capsys.readouterr().err
    assert "attn.q_proj.weight is there without" in found
    assert "attn.k_proj.weight and" in found
