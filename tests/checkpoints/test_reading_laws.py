"""Every way to a file of weights gives the same of it: wrappers, prefixes, folders and "~"."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from freeseg.checkpoints import (
    FOLDER_FILES,
    ReleaseCheckpointer,
    StrictCheckpointer,
    convert_file,
    read_checkpoint,
    weights_file,
    write_checkpoint,
)
from freeseg.systems.building import load_config, load_weights
from freeseg.text.weights import read_state_dict

NAMES = ("sem_seg_head.predictor.a.weight", "sem_seg_head.predictor.b.weight", "backbone.bias")


class Model(nn.Module):
    """Three weights, of which two have one shape and all are square or vectors."""

    def __init__(self, number: float = 0.0) -> None:
        super().__init__()
        for name in NAMES:
            module = self
            *parents, last = name.split(".")
            for parent in parents:
                if not hasattr(module, parent):
                    setattr(module, parent, nn.Module())
                module = getattr(module, parent)
            shape = (3,) if last == "bias" else (3, 3)
            setattr(module, last, nn.Parameter(torch.zeros(shape)))
        with torch.no_grad():
            for place, value in enumerate(self.parameters()):
                value.copy_(torch.arange(value.numel()).reshape(value.shape) + 10 * place + number)


def weights(number: float = 0.0) -> dict[str, torch.Tensor]:
    return dict(Model(number).state_dict())


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def loaded(path, kind=ReleaseCheckpointer) -> dict[str, torch.Tensor]:
    model = Model(-100)
    checkpointer = kind(model)
    checkpointer.load(str(path))
    checkpointer.check_fit(str(path))
    return dict(model.state_dict())


CONTENTS = {
    "bare": lambda own, other: own,
    "model": lambda own, other: {"model": own, "iteration": 3},
    "state_dict": lambda own, other: {"state_dict": own, "epoch": 2},
    "both": lambda own, other: {"state_dict": other, "model": own},
    "both in another order": lambda own, other: {"model": own, "state_dict": other},
    "averaged beside": lambda own, other: {"model": own, "model_ema": other},
    "one in the other": lambda own, other: {"model": {"state_dict": own, "epoch": 1}},
    "trainer": lambda own, other: {"model": own, "optimizer": {"state": other}, "scheduler": {}},
}


@pytest.mark.parametrize("make", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.module."])
def test_both_readers_take_the_same_weights_out_of_a_container(tmp_path, make, prefix):
    own = {f"{prefix}{key}": value for key, value in weights(1).items()}
    torch.save(make(own, weights(2)), tmp_path / "a.pth")
    assert same(read_checkpoint(tmp_path / "a.pth"), weights(1))
    assert same(loaded(tmp_path / "a.pth"), weights(1))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_prefix_that_some_names_have_is_a_part_of_them(tmp_path, prefix):
    """Which names mean the same weight nobody can tell: nothing is merged or lost in silence."""
    mixed = {key: value for key, value in weights(1).items() if key != NAMES[0]}
    mixed |= {f"{prefix}{NAMES[0]}": weights(1)[NAMES[0]], f"{prefix}{NAMES[1]}": torch.ones(3, 3)}
    torch.save({"model": mixed}, tmp_path / "a.pth")
    assert same(read_checkpoint(tmp_path / "a.pth"), mixed)
    message = rf"1 of its 3 .*: {NAMES[0]}; 2 weights are unknown to it: {prefix}"
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path / "a.pth", StrictCheckpointer)


def test_parts_of_which_some_have_a_prefix_are_put_together(tmp_path):
    state = weights(1)
    save_file({f"module.{NAMES[0]}": state[NAMES[0]]}, tmp_path / "1.safetensors")
    save_file({key: state[key] for key in NAMES[1:]}, tmp_path / "2.safetensors")
    files = ("2.safetensors", "1.safetensors", "2.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip(NAMES, files))}))
    assert same(read_checkpoint(index), state)
    assert same(loaded(index), state)
    assert same(loaded(tmp_path), state)


def test_numbers_of_all_kinds_in_one_file(tmp_path):
    """A tensor, an array, and what is no weight beside them."""
    content = {"a": torch.ones(2), "b": torch.zeros(2, 3).numpy(), "c": 3, "d": "text", "e": [1.0]}
    torch.save({**content, 4: torch.ones(1)}, tmp_path / "a.pth", pickle_protocol=4)
    content["a"] = content["a"].numpy()
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    assert read_checkpoint(tmp_path / "a.pkl").keys() == {"a", "b"}


def test_of_a_folder_the_first_of_the_known_files_counts(tmp_path):
    parts = {"weight_map": dict.fromkeys(NAMES, "part.safetensors")}
    save_file(weights(9), tmp_path / "part.safetensors")
    for number, name in enumerate(FOLDER_FILES):
        path = tmp_path / name
        if name.endswith("json"):
            path.write_text(json.dumps(parts))
        elif name.endswith("safetensors"):
            save_file(weights(number), path)
        else:
            torch.save(weights(number), path)
    for number, name in enumerate(FOLDER_FILES):
        assert weights_file(str(tmp_path)) == str(tmp_path / name)
        assert same(loaded(tmp_path), weights(9 if name.endswith("json") else number))
        (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        weights_file(str(tmp_path))
    assert weights_file(str(tmp_path / "any.pth")) == str(tmp_path / "any.pth")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.pkl"])
def test_a_tilde_is_the_users_home_for_every_reader(home, name):
    state = weights(4)
    if name.endswith("pkl"):
        content = {"model": {key: value.numpy() for key, value in state.items()}}
        (home / name).write_bytes(pickle.dumps({**content, "__author__": "someone"}))
    else:
        write_checkpoint(state, f"~/models/{name}")
    path = f"~/models/{name}"
    assert (home / name).is_file()
    assert same(read_checkpoint(path), state)
    assert same(read_state_dict(path), state)
    assert same(loaded(path), state)
    model = Model()
    load_weights(model, path)
    assert same(dict(model.state_dict()), state)
    convert_file("mask2former", path, "~/models/converted.safetensors")
    assert same(read_checkpoint(home / "converted.safetensors"), state)
    assert sorted(each.name for each in home.parent.iterdir()) == ["models"]


def test_a_tilde_is_the_users_home_for_folders_and_configurations(home):
    save_file(weights(5), home / "part.safetensors")
    parts = {"weight_map": dict.fromkeys(NAMES, "part.safetensors")}
    (home / "model.safetensors.index.json").write_text(json.dumps(parts))
    assert same(loaded("~/models"), weights(5))
    assert same(read_checkpoint("~/models/model.safetensors.index.json"), weights(5))
    (home / "own.yaml").write_text("SEED: 71\n")
    assert load_config("~/models/own.yaml").SEED == 71
    with pytest.raises(FileNotFoundError, match=f"{home}/absent.pth"):
        load_weights(Model(), "~/models/absent.pth")


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin"])
def test_square_weights_are_never_turned_on_their_sides(tmp_path, suffix):
    state = {key: value.T if value.ndim == 2 else value for key, value in weights(1).items()}
    if suffix == "bin":
        torch.save(state, tmp_path / "a.bin")
    else:
        write_checkpoint(state, tmp_path / f"a.{suffix}")
    found = loaded(tmp_path / f"a.{suffix}")
    assert same(found, {key: value.contiguous() for key, value in state.items()})
    assert not torch.equal(found[NAMES[0]], found[NAMES[0]].T)
