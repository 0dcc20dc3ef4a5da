"""What a loaded file and a model have in common, at the limits and for files of Caffe2's kind."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from detectron2.layers import FrozenBatchNorm2d
from freeseg.checkpoints import (
    ReleaseCheckpointer,
    StrictCheckpointer,
    convert_file,
    read_checkpoint,
    reason_of,
    refuse_nan,
    write_checkpoint,
)


def misfit_of(model, state, path) -> str:
    write_checkpoint(state, path)
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(str(path))
    return checkpointer.misfit()


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5])
def test_three_names_are_listed_and_of_more_how_many(tmp_path, missing):
    model = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(7))
    state = {key: value for key, value in model.state_dict().items() if int(key[0]) >= missing}
    state |= {f"other.{number}": torch.ones(1) for number in range(missing)}
    names = [f"{number}.weight" for number in range(missing)]
    rest = f" and {missing - 3} more" if missing > 3 else ""
    others = [f"other.{number}" for number in range(missing)]
    first = ", ".join(names[:3])
    assert misfit_of(model, state, tmp_path / "a.pth") == (
        f"{missing} of its 7 weights are missing or of another shape: {first}{rest}; "
        f"{missing} weights are unknown to it: {', '.join(others[:3])}{rest}"
    )


def test_a_file_that_fits_has_no_misfit_and_is_loaded_whole(tmp_path, caplog):
    model = nn.Linear(2, 2)
    state = {"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "bias": torch.tensor([5.0, 6.0])}
    assert misfit_of(model, state, tmp_path / "a.pth") == ""
    assert model.weight.tolist() == [[1, 2], [3, 4]]
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(str(tmp_path / "a.pth"))
    checkpointer.check_fit("a", allow_misfit=False)
    checkpointer.missing = ["weight"]
    with pytest.raises(ValueError, match="weights a do not fit the model: 1 of its 2 weights"):
        checkpointer.check_fit("a")
    caplog.clear()
    checkpointer.check_fit("a", allow_misfit=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "weights a do not fit the model" in caplog.text


def layer(name: str, *size: int) -> nn.Module:
    module: nn.Module = nn.Linear(*size)
    for part in reversed(name.split(".")):
        module = nn.ModuleDict({part: module})
    return module


def test_another_number_of_classes_beside_another_misfit(tmp_path):
    name = "sem_seg_head.predictor.class_embed"
    model = nn.ModuleDict({"own": layer(name, 2, 4)["sem_seg_head"], "a": nn.Linear(1, 1)})
    model["sem_seg_head"] = model.pop("own")
    state = {**layer(name, 2, 8).state_dict(), "a.weight": torch.ones(1, 1), "b": torch.ones(1)}
    assert misfit_of(model, state, tmp_path / "a.pth") == (
        "they are of 7 classes, the model has 3; 1 of its 4 weights are missing or of another "
        "shape: a.bias; 1 weights are unknown to it: b"
    )


def test_statistics_that_a_frozen_norm_fills_in_itself_are_asked_for(tmp_path):
    model = nn.Sequential(FrozenBatchNorm2d(3))
    state = dict(model.state_dict())
    for name in ("0.running_mean", "0.running_var"):
        rest = {key: value for key, value in state.items() if key != name}
        assert f"1 of its 4 weights are missing or of another shape: {name}" in misfit_of(
            nn.Sequential(FrozenBatchNorm2d(3)), rest, tmp_path / "a.pth"
        )


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.res2 = nn.ModuleList([nn.ModuleDict({"conv1": nn.Conv2d(2, 2, 1, bias=False)})])
        self.norm = FrozenBatchNorm2d(2)


@pytest.mark.parametrize("form", ["blobs", "bare"])
def test_files_of_caffe2_are_matched_by_the_ends_of_names_without_their_momenta(tmp_path, form):
    weight = np.arange(4, dtype=np.float32).reshape(2, 2, 1, 1)
    blobs = {"res2_0_branch2a_w": weight, "res2_0_branch2a_w_momentum": weight + 9}
    content = {"blobs": blobs} if form == "blobs" else blobs
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    model = Normed()
    checkpointer = ReleaseCheckpointer(model)
    checkpointer.load(str(tmp_path / "a.pkl"))
    assert model.res2[0]["conv1"].weight.flatten().tolist() == [0, 1, 2, 3]
    assert checkpointer.unused == []
    assert "norm.running_mean" not in checkpointer.missing, "such files have these in the weights"


def test_names_that_are_matched_by_their_ends_are_of_no_release(tmp_path):
    """Else `static_query` would be renamed before it is matched."""
    key = "sem_seg_head.predictor.static_query.weight"
    content = {"model": {key: np.ones((2, 3), np.float32)}, "__author__": "x"}
    for heuristics in (True, False):
        path = tmp_path / f"{heuristics}.pkl"
        path.write_bytes(pickle.dumps({**content, "matching_heuristics": heuristics}))
        names = list(ReleaseCheckpointer(nn.Identity())._load_file(str(path))["model"])
        assert names == [key if heuristics else key.replace("static_query", "query_feat")]


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
def test_an_address_asks_for_matching_by_ends_whatever_the_file(tmp_path, file):
    write_checkpoint({"backbone.0.weight": torch.ones(1, 1)}, tmp_path / file)
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"backbone": nn.Sequential(nn.Linear(1, 1))})})
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(f"{tmp_path / file}?matching_heuristics=True")
    assert model["encoder"]["backbone"][0].weight.item() == 1
    assert (checkpointer.unused, checkpointer.missing) == ([], ["encoder.backbone.0.bias"])


def test_weights_that_are_no_numbers_are_counted_and_the_first_is_named():
    nan = float("nan")
    state = {"a": torch.ones(2), "b": torch.tensor([1, nan]), "c": torch.tensor([nan]), "n": 3}
    with pytest.raises(ValueError, match="f holds NaN in 2 of 4 weights, the first is b"):
        refuse_nan(state, "f")
    refuse_nan({"a": torch.tensor([float("inf")]), "count": torch.tensor(7)}, "f")


def test_converting_says_what_became_of_every_weight(tmp_path):
    state = {
        "sem_seg_head.predictor.static_query.weight": torch.eye(3),
        "backbone.a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        "backbone.large": torch.tensor([1e6]),
    }
    torch.save({"model": state}, tmp_path / "a.pth")
    classes = [{"id": 7, "name": "cat", "isthing": 1}]
    conversion = convert_file(
        "mask2former", tmp_path / "a.pth", tmp_path / "b.pth",
        half=True, keep=("sem_seg_head.", "backbone.a"), classes=classes,
    )  # fmt: skip
    new = "sem_seg_head.predictor.query_feat.weight"
    assert list(conversion.state) == [new, "backbone.a"]
    assert conversion.dropped == ("backbone.large",)
    assert conversion.renamed == {"sem_seg_head.predictor.static_query.weight": new}
    written = torch.load(tmp_path / "b.pth", weights_only=True)
    assert {key: value.dtype for key, value in written["model"].items()} == dict.fromkeys(
        (new, "backbone.a"), torch.float16
    )
    assert written["model"]["backbone.a"].tolist() == [[1, 2], [3, 4]]
    assert written["classes"] == classes
    spoilt = {**state, "backbone.a": torch.tensor([float("nan")])}
    torch.save({"model": spoilt}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth holds NaN in 1 of 3 weights"):
        convert_file("mask2former", tmp_path / "a.pth", tmp_path / "c.pth")


def test_values_at_half_precision_up_to_the_largest_and_no_more(tmp_path):
    """65504 is the largest of half precision; 65520 would be infinite."""
    state = {
        "largest": torch.tensor([65504.0, -65504.0]),
        "larger": torch.tensor([65520.0]),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "brain": torch.tensor([1e30], dtype=torch.bfloat16),
        "half": torch.tensor([2.0]).half(),
        "count": torch.tensor([3]),
    }
    write_checkpoint(state, tmp_path / "a.safetensors", half=True, metadata={"about": "a test"})
    kinds = {key: value.dtype for key, value in read_checkpoint(tmp_path / "a.safetensors").items()}
    assert kinds == {
        "largest": torch.float16,
        "larger": torch.float32,
        "double": torch.float16,
        "brain": torch.bfloat16,
        "half": torch.float16,
        "count": torch.int64,
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a b\nc d"), "a b"),
        (ValueError("\n  \n  it is wrong \n"), "it is wrong"),
        (
            RuntimeError("Weights only load failed.\nPlease file an issue\nit is no zip"),
            "it is no zip",
        ),
        (KeyError("x"), "KeyError: x"),
        (KeyError("a b"), "a b"),
        (KeyError(), "KeyError"),
        (ValueError(), "ValueError"),
        (OSError("gone"), "OSError: gone"),
        (TypeError("wanted <class 'int'> here"), "wanted int here"),
    ],
    ids=repr,
)
def test_a_reason_is_the_first_line_that_says_one(error, reason):
    assert reason_of(error) == reason
