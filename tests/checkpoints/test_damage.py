"""Files that are cut off, damaged, evil, of another model or no numbers: one line, nothing run."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from detectron2.layers import FrozenBatchNorm2d
from freeseg.checkpoints import (
    ReleaseCheckpointer,
    StrictCheckpointer,
    read_checkpoint,
    write_checkpoint,
)
from freeseg.engine import AtomicCheckpointer
from freeseg.systems.building import load_weights

sys.path.insert(0, str(Path(__file__).parents[1]))
from full_disk import full_disk

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


def zip_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": STATE}, buffer)
    return buffer.getvalue()


def legacy_file() -> bytes:
    buffer = io.BytesIO()
    torch.save({"model": STATE}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


FILES = {
    "zip.pth": zip_file(),
    "legacy.pth": legacy_file(),
    "state.pkl": pickle.dumps({"model": {k: v.numpy() for k, v in STATE.items()}}),
    "state.safetensors": save(STATE),
}


def outcome(path):
    """The weights in a file, or the error that a user meets."""
    try:
        return read_checkpoint(path), None
    except ValueError as error:
        return {}, error


def is_one_line(error: Exception) -> bool:
    return "\n" not in str(error)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_cut_off_anywhere_is_one_line_with_its_name(name, data, tmp_path):
    path = tmp_path / name
    length = data.draw(st.integers(0, len(FILES[name]) - 1))
    path.write_bytes(FILES[name][:length])
    found, error = outcome(path)
    if error is None:  # nothing but trailing bytes may be missing
        assert all(torch.equal(found[key], STATE[key]) for key in STATE)
    else:
        assert str(path) in str(error)
        assert is_one_line(error)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_file_with_wrong_bytes_raises_nothing_but_value_errors(name, data, tmp_path):
    content = bytearray(FILES[name])
    places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, value in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = value
    path = tmp_path / name
    path.write_bytes(content)
    found, error = outcome(path)
    if error is None:  # the bytes of a value, or of what nobody reads
        assert all(isinstance(value, torch.Tensor) for value in found.values())
    else:
        assert str(path) in str(error)
        assert is_one_line(error)


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("place", ["weights", "beside", "whole"])
@pytest.mark.parametrize("suffix", ["pth", "legacy.pth", "pkl", "bin", "ckpt"])
def test_evil_files_run_nothing_on_any_way_in(suffix, place, tmp_path):
    trace, path = tmp_path / "exploded", tmp_path / f"evil.{suffix}"
    evil = Evil(trace)
    content = {
        "weights": {"model": {"weight": evil}},
        "beside": {"model": STATE, "trainer": evil},
        "whole": evil,
    }[place]
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=suffix != "legacy.pth")
    (tmp_path / "last_checkpoint").write_text(path.name)
    model = nn.Linear(3, 2)
    for way in (
        lambda: read_checkpoint(path),
        lambda: ReleaseCheckpointer(model).load(str(path)),
        lambda: AtomicCheckpointer(model, str(tmp_path)).resume_or_load("", resume=True),
    ):
        with pytest.raises(ValueError, match="holds more than data") as caught:
            way()
        assert is_one_line(caught.value)
    assert not trace.exists()


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    spoilt = {**STATE, "bias": torch.tensor([1.0, float("nan")])}
    for name in ("nan.pth", "nan.safetensors"):
        write_checkpoint(spoilt, tmp_path / name)
        with pytest.raises(ValueError, match=rf"{name} holds NaN in 1 of 2 weights.* bias"):
            StrictCheckpointer(nn.Linear(3, 2)).load(str(tmp_path / name))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, "2 of its 2 weights"),
        ({"other": torch.zeros(3)}, "2 of its 2 weights.* 1 weights are unknown"),
        ({"weight": torch.full((2, 3), float("nan")), "bias": torch.zeros(2)}, "holds NaN"),
        (b"", "is empty"),
        (zip_file()[:-200], "is damaged or cut off"),
    ],
    ids=["shapes", "another system", "nan", "empty", "cut off"],
)
def test_a_run_is_not_resumed_from_what_does_not_fit(content, reason, tmp_path):
    path = tmp_path / "model_0000009.pth"
    path.write_bytes(content) if isinstance(content, bytes) else write_checkpoint(content, path)
    (tmp_path / "last_checkpoint").write_text(path.name)
    with pytest.raises(ValueError, match=f"cannot resume: .*{reason}.*last_checkpoint") as caught:
        AtomicCheckpointer(nn.Linear(3, 2), str(tmp_path)).resume_or_load("", resume=True)
    assert is_one_line(caught.value)


def test_a_full_disk_leaves_the_last_good_files_and_no_partial_ones(tmp_path):
    model = nn.Linear(100, 100)
    nn.init.constant_(model.weight, 1.0)
    checkpointer = AtomicCheckpointer(model, str(tmp_path))
    copy = tmp_path / "copy.safetensors"
    checkpointer.save("model")
    write_checkpoint({"weight": model.weight.detach()}, copy)

    nn.init.constant_(model.weight, 2.0)
    state = {"weight": model.weight.detach()}
    writes = {
        "model.pth": lambda: checkpointer.save("model"),
        "next.pth": lambda: checkpointer.save("next"),
        "copy.safetensors": lambda: write_checkpoint(state, copy),
        "copy2.pth": lambda: write_checkpoint(state, tmp_path / "copy2.pth"),
    }
    for name, write in writes.items():
        with full_disk(20_000), pytest.raises(OSError, match=f"{name} cannot be written") as caught:
            write()
        assert str(caught.value).endswith("File too large")
        assert is_one_line(caught.value)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["copy.safetensors", "last_checkpoint", "model.pth"]
    again = nn.Linear(100, 100)
    AtomicCheckpointer(again, str(tmp_path)).resume_or_load("", resume=True)
    assert bool((again.weight == 1).all())
    assert bool((read_checkpoint(copy)["weight"] == 1).all())


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("pkl", [1]),
        ("pkl", {"blobs": [1]}),
        ("pkl", {"model": [1], "__author__": "someone"}),
        ("pkl", {1: np.zeros(2)}),
        ("pth", [1]),
        ("pth", {"model": [1]}),
        ("pth", {"state_dict": 3}),
        ("pth", {"model": {1: torch.zeros(2)}}),
    ],
)
def test_containers_of_another_kind_are_no_weights(suffix, content, tmp_path):
    path = tmp_path / f"odd.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=rf"odd\.{suffix} holds no weights") as caught:
        ReleaseCheckpointer(nn.Linear(3, 2)).load(str(path))
    assert is_one_line(caught.value)


class Normed(nn.Module):
    """Has a norm whose statistics are trained, and buffers that follow from its configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.attn = nn.Module()
        self.attn.register_buffer("relative_position_index", torch.arange(4))
        self.criterion = nn.Module()
        self.criterion.register_buffer("empty_weight", torch.ones(3))


def checked(model, state, path):
    """What `check_fit` says of weights that were written to a path."""
    write_checkpoint(state, path)
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(str(path))
    checkpointer.check_fit(str(path))


def test_statistics_of_norms_are_weights(tmp_path):
    state = Normed().state_dict()
    weights = {key: value for key, value in state.items() if "running" not in key}
    with pytest.raises(ValueError, match=r"2 of its 4 .*: norm\.running_mean, norm\.running_var$"):
        checked(Normed(), weights, tmp_path / "a.pth")
    state["norm.running_var"] = torch.ones(5)
    with pytest.raises(ValueError, match=r"1 of its 4 .*: norm\.running_var \[5\], wanted \[3\]$"):
        checked(Normed(), state, tmp_path / "b.pth")


def test_a_frozen_norm_is_all_weights(tmp_path):
    model = nn.Sequential(FrozenBatchNorm2d(3), nn.Conv2d(3, 3, 1))
    state = {key: value for key, value in model.state_dict().items() if key.startswith("1.")}
    with pytest.raises(
        ValueError, match=r"4 of its 6 .*: 0\.bias, 0\.running_mean, 0\.running_var"
    ):
        checked(model, state, tmp_path / "a.pth")


def test_buffers_that_are_computed_may_be_missing(tmp_path):
    state = Normed().state_dict()
    for name in ("norm.num_batches_tracked", "attn.relative_position_index"):
        del state[name]
    del state["criterion.empty_weight"]
    checked(Normed(), state, tmp_path / "a.pth")


def test_names_are_listed_up_to_a_number(tmp_path, caplog):
    model = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(25))
    state = {f"other.{index:02}": torch.ones(1) for index in range(4)}
    state["0.weight"] = torch.ones(2, 1)
    with pytest.raises(ValueError, match="do not fit") as caught:
        checked(model, state, tmp_path / "a.pth")
    assert is_one_line(caught.value)
    missing, unknown = str(caught.value).split("; ")
    assert missing.endswith(": 0.weight [2, 1], wanted [1, 1], 1.weight, 10.weight and 22 more")
    assert unknown == "4 weights are unknown to it: other.00, other.01, other.02 and 1 more"
    load_weights(model, str(tmp_path / "a.pth"), allow_misfit=True)
    assert "other.02 and 1 more" in caplog.text


@pytest.mark.parametrize("content", [{}, {"model": {}}, {"state_dict": {}}])
def test_a_file_without_a_weight_says_so(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth holds no weights$"):
        load_weights(nn.Linear(1, 1), str(tmp_path / "a.pth"))


@pytest.mark.parametrize("name", ["a.pth", "a.pkl", "a.safetensors", "a.bin"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><title>404</title>", "is a web page, not weights"),
        (b"<html>", "is a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not weights"),
    ],
    ids=["empty", "doctype", "html", "pointer"],
)
def test_what_stands_where_weights_should_is_said(name, content, reason, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^cannot load weights {path}: {path} {reason}"):
        load_weights(nn.Linear(1, 1), str(path))


def named(name, num_outputs=1):
    """A model that is a layer under a name."""
    module = nn.Linear(2, num_outputs)
    for part in reversed(name.split(".")):
        module = nn.ModuleDict({part: module})
    return module


def test_weights_of_another_number_of_classes_say_both(tmp_path):
    layer = "sem_seg_head.predictor.class_embed"
    with pytest.raises(ValueError, match=r"model: they are of 5 classes, the model has 9$"):
        checked(named(layer, 10), named(layer, 6).state_dict(), tmp_path / "a.pth")
    state = {**named(layer, 6).state_dict(), f"{layer}.weight": torch.ones(6, 3)}
    with pytest.raises(ValueError, match=r"1 of its 2 .*: .*weight \[6, 3\], wanted \[6, 2\]$"):
        checked(named(layer, 6), state, tmp_path / "b.pth")


@pytest.mark.parametrize("name", ["model.task_encoder.task_mlp.layers.0.0", "task_mlp.x"])
def test_weights_of_another_system_are_called_so(name, tmp_path):
    state, model = named(name).state_dict(), named("sem_seg_head.predictor.x")
    message = "model: these are weights of oneformer, the model is mask2former$"
    with pytest.raises(ValueError, match=message):
        checked(model, state, tmp_path / "a.pth")
