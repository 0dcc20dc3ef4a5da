"""Checkpoints of several formats, and of hostile ones."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import detectron2
from detectron2.checkpoint import DetectionCheckpointer, PeriodicCheckpointer

is_lite = "lite" in detectron2.__version__
lite_only = pytest.mark.skipif(not is_lite, reason="real Detectron2 does not promise this")


def network():
    model = nn.Sequential(OrderedDict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 1)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def weights(value):
    return {k: torch.full_like(v, value) for k, v in network().state_dict().items()}


def values(model):
    return {k: v.unique().tolist() for k, v in model.state_dict().items()}


def everywhere(value):
    return {name: [value] for name in network().state_dict()}


def dump(path, data, protocol=2):
    with open(path, "wb") as file:
        pickle.dump(data, file, protocol=protocol)
    return str(path)


def test_save_and_resume(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    checkpointer = DetectionCheckpointer(model, str(tmp_path), optimizer=optimizer)
    checkpointer.save("model_0", iteration=7)
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model_0.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_0.pth"

    other = network()
    fresh = torch.optim.SGD(other.parameters(), lr=99.0)
    resumed = DetectionCheckpointer(other, str(tmp_path), optimizer=fresh)
    assert resumed.has_checkpoint()
    assert resumed.resume_or_load("does_not_exist.pth", resume=True) == {"iteration": 7}
    assert fresh.param_groups[0]["lr"] == 0.1
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


def test_without_resume_the_given_file_is_loaded(tmp_path):
    DetectionCheckpointer(network(), str(tmp_path)).save("last")
    torch.save({"model": weights(3.0)}, tmp_path / "given.pth")
    model = network()
    checkpointer = DetectionCheckpointer(model, str(tmp_path))
    checkpointer.resume_or_load(str(tmp_path / "given.pth"), resume=False)
    assert values(model) == everywhere(3.0)


def test_nothing_is_loaded_from_no_path():
    assert DetectionCheckpointer(network()).load("") == {}


def test_missing_file_is_an_error_and_the_next_load_works(tmp_path):
    torch.save(weights(1.0), tmp_path / "a.pth")
    model = network()
    with pytest.raises((AssertionError, FileNotFoundError)):
        DetectionCheckpointer(model).load(str(tmp_path / "nothing.pth"))
    checkpointer = DetectionCheckpointer(model)
    if is_lite:  # the real one cannot be used again
        with pytest.raises((AssertionError, FileNotFoundError)):
            checkpointer.load(str(tmp_path / "nothing.pth"))
    checkpointer.load(str(tmp_path / "a.pth"))
    assert values(model) == everywhere(1.0)


def test_bare_state_dict_with_ddp_prefix(tmp_path):
    torch.save({f"module.{k}": v for k, v in weights(2.0).items()}, tmp_path / "a.pth")
    model = network()
    DetectionCheckpointer(model).load(str(tmp_path / "a.pth"))
    assert values(model) == everywhere(2.0)


def test_wrong_shape_is_skipped(tmp_path):
    state = weights(2.0)
    state["head.weight"] = torch.zeros(7, 7)
    torch.save({"model": state}, tmp_path / "a.pth")
    model = network()
    DetectionCheckpointer(model).load(str(tmp_path / "a.pth"))
    assert values(model)["head.weight"] == [0.0]
    assert values(model)["head.bias"] == [2.0]


def test_matching_by_name_endings(tmp_path):
    torch.save({"weight": torch.full((2, 2), 5.0)}, tmp_path / "a.pth")
    model = nn.Sequential(OrderedDict(backbone=nn.Linear(2, 2, bias=False)))
    with torch.no_grad():
        model.backbone.weight.zero_()
    path = str(tmp_path / "a.pth")
    DetectionCheckpointer(model).load(path)
    assert model.backbone.weight.sum() == 0
    DetectionCheckpointer(model).load(path + "?matching_heuristics=True")
    assert model.backbone.weight.sum() == 20


def test_unknown_query_is_refused(tmp_path):
    torch.save(weights(1.0), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="something"):
        DetectionCheckpointer(network()).load(str(tmp_path / "a.pth?something=1"))


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_pickled_numpy_arrays(tmp_path, protocol):
    data = {k: v.numpy() for k, v in weights(4.0).items()}
    path = dump(tmp_path / "a.pkl", {"model": data, "__author__": "somebody"}, protocol)
    model = network()
    DetectionCheckpointer(model).load(path)
    assert values(model) == everywhere(4.0)


def test_pickled_tensors_with_matching(tmp_path):
    data = OrderedDict((k.split(".", 1)[1] + "x", v) for k, v in weights(4.0).items())
    data["backbone.weight"] = nn.Parameter(torch.full((2, 2), 4.0))
    path = dump(
        tmp_path / "a.pkl",
        {"model": data, "__author__": "third_party", "matching_heuristics": True},
    )
    model = nn.Sequential(OrderedDict(net=network()))
    DetectionCheckpointer(model).load(path)
    assert values(model)["net.backbone.weight"] == [4.0]
    assert values(model)["net.head.weight"] == [0.0]


def test_caffe2_weights(tmp_path):
    class Stem(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 2, 1, bias=False)

    model = nn.ModuleDict({"stem": Stem()})
    blobs = {
        "conv1_w": np.full((2, 1, 1, 1), 6.0, dtype=np.float32),
        "conv1_w_momentum": np.zeros((2, 1, 1, 1), dtype=np.float32),
    }
    for name, data in (("a.pkl", blobs), ("b.pkl", {"blobs": blobs})):
        with torch.no_grad():
            model["stem"].conv1.weight.zero_()
        DetectionCheckpointer(model).load(dump(tmp_path / name, data))
        assert model["stem"].conv1.weight.unique().tolist() == [6.0]


def test_pycls_weights(tmp_path):
    state = {**weights(2.0), "head.num_batches_tracked": torch.tensor(1)}
    torch.save({"model_state": state}, tmp_path / "a.pyth")
    model = network()
    DetectionCheckpointer(model).load(str(tmp_path / "a.pyth"))
    assert values(model) == everywhere(2.0)


def test_pixel_statistics_may_be_missing(tmp_path, caplog):
    model = network()
    model.register_buffer("pixel_mean", torch.zeros(3))
    torch.save({"model": weights(2.0)}, tmp_path / "a.pth")
    with caplog.at_level("WARNING"):
        DetectionCheckpointer(model).load(str(tmp_path / "a.pth"))
    assert "pixel_mean" not in caplog.text


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@lite_only
@pytest.mark.parametrize("name", ["a.pkl", "a.pth", "a.pyth"])
def test_code_in_weights_is_not_run(tmp_path, name):
    sign = str(tmp_path / "it_ran")
    data = {"model": weights(1.0), "__author__": Evil(sign)}
    if name.endswith("pkl"):
        dump(tmp_path / name, data)
    else:
        torch.save(data, tmp_path / name)
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        DetectionCheckpointer(network()).load(str(tmp_path / name))
    assert not os.path.exists(sign)


@lite_only
@pytest.mark.parametrize(
    "opcodes",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\ngetattr\n(S'1'\nS'x'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.",
        b"ctorch\nload\n(S'x'\ntR.",
    ],
    ids=["eval", "getattr", "numpy.load", "nested name", "torch.load"],
)
def test_other_functions_cannot_be_reached(tmp_path, opcodes):
    (tmp_path / "a.pkl").write_bytes(opcodes)
    with pytest.raises(pickle.UnpicklingError):
        DetectionCheckpointer(network()).load(str(tmp_path / "a.pkl"))


@lite_only
def test_failed_save_leaves_the_old_file(tmp_path):
    model = network()
    checkpointer = DetectionCheckpointer(model, str(tmp_path))
    checkpointer.save("a")
    before = (tmp_path / "a.pth").read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        checkpointer.save("a", unpicklable=lambda: None)
    assert (tmp_path / "a.pth").read_bytes() == before


def test_no_directory_no_file(tmp_path):
    DetectionCheckpointer(network()).save("a")
    DetectionCheckpointer(network(), str(tmp_path), save_to_disk=False).save("a")
    assert os.listdir(tmp_path) == []


def test_periodic_checkpoints(tmp_path):
    periodic = PeriodicCheckpointer(
        DetectionCheckpointer(network(), str(tmp_path)), period=2, max_iter=5, max_to_keep=1
    )
    for i in range(5):
        periodic.step(i)
    assert sorted(p for p in os.listdir(tmp_path) if p.endswith("pth")) == [
        "model_0000003.pth",
        "model_final.pth",
    ]
