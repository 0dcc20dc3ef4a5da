"""Weights in every published form load into the model they belong to."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from detectron2.config import get_cfg
from freeseg import Segmenter, add_freeseg_config, build_model
from freeseg.checkpoints import (
    ReleaseCheckpointer,
    StrictCheckpointer,
    config_from_hugging_face,
    convert_file,
    detect_system,
    read_checkpoint,
)
from freeseg.zoo import convert_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from hugging_face_ports import mask2former_pair, oneformer_pair

CONFIG = Path(__file__).resolve().parents[2] / "configs/oneformer/shapes/oneformer_small.yaml"


def small():
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIG))
    cfg.MODEL.TEXT_ENCODER.VOCAB_SIZE = 8  # the tokens' table is large and not looked at here
    return build_model(cfg)


def same(first, second) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(1)
    return small()


@pytest.mark.parametrize(
    "form", ["zip.pth", "legacy.pth", "bare.pth", "parallel.pth", "x.safetensors"]
)
def test_release_files_load_into_a_fresh_model(tmp_path, trained, form):
    path, state = tmp_path / form, dict(trained.state_dict())
    if form.endswith("safetensors"):
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        if form == "parallel.pth":
            state = {f"module.{key}": value for key, value in state.items()}
        content = state if form == "bare.pth" else {"model": state, "iteration": 3}
        torch.save(content, path, _use_new_zipfile_serialization=form != "legacy.pth")
    model = small()
    assert not same(model, trained)
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(str(path))
    checkpointer.check_fit(str(path))
    assert same(model, trained)


def test_detectron2_pickles_fill_the_backbone_by_the_ends_of_names(tmp_path, trained):
    prefix = "backbone."
    weights = {
        key[len(prefix) :]: value.numpy()
        for key, value in trained.state_dict().items()
        if key.startswith(prefix)
    }
    path = tmp_path / "backbone.pkl"
    content = {"model": weights, "__author__": "third_party", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content))
    model = small()
    ReleaseCheckpointer(model).load(str(path))
    assert same(model.backbone, trained.backbone)
    assert not same(model.sem_seg_head, trained.sem_seg_head)


class Evil:
    def __reduce__(self):
        return print, ("a file was executed",)


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_no_file_is_executed(tmp_path, trained, capsys, suffix):
    path = tmp_path / f"evil{suffix}"
    content = {"model": {"a": np.zeros(1)}, "__author__": Evil()}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save({"model": Evil()}, path)
    with pytest.raises(ValueError, match="holds more than data"):
        ReleaseCheckpointer(trained).load(str(path))
    assert "executed" not in capsys.readouterr().out


def test_missing_and_unused_weights_are_named(tmp_path, trained):
    state = dict(trained.state_dict())
    state["sem_seg_head.predictor.extra"] = state.pop("task_mlp.layers.0.bias")
    path = tmp_path / "other.pth"
    torch.save({"model": state}, path)
    checkpointer = StrictCheckpointer(small())
    checkpointer.load(str(path))
    with pytest.raises(
        ValueError, match=r"1 of its .* task_mlp\.layers\.0\.bias; 1 weights are .*extra"
    ):
        checkpointer.check_fit(str(path))
    options = ["MODEL.TEXT_ENCODER.VOCAB_SIZE", "8"]
    with pytest.raises(ValueError, match="do not fit the model"):
        Segmenter.from_config(str(CONFIG), path, opts=options)
    allowed = Segmenter.from_config(
        str(CONFIG), path, opts=[*options, "MODEL.ALLOW_MISFIT", "True"]
    )
    assert allowed.model.text_encoder is None


@pytest.mark.parametrize(
    "make", [oneformer_pair, mask2former_pair], ids=["oneformer", "mask2former"]
)
def test_a_folder_of_hugging_faces_is_a_model(tmp_path, make):
    theirs, ours = make(tmp_path, "swin")
    segmenter = Segmenter.from_config(tmp_path)
    found = dict(segmenter.model.state_dict())
    expected = ours.state_dict()
    assert [key for key in found if not torch.equal(found[key], expected[key])] == []
    assert segmenter.vocabulary.names == tuple(theirs.config.id2label.values())
    image = np.zeros((40, 60, 3), dtype=np.uint8)
    assert segmenter(image, "semantic").semantic is not None


def test_a_converted_file_is_in_the_releases_names(tmp_path):
    _, ours = oneformer_pair(tmp_path / "port", "resnet")
    output = tmp_path / "converted.safetensors"
    convert_file("hf-oneformer", tmp_path / "port" / "model.safetensors", output)
    state = load_file(output)
    assert detect_system(state) == "oneformer"
    known = ours.state_dict()
    assert set(state) <= set(known)
    other = [key for key in state if not torch.equal(state[key].to(known[key]), known[key])]
    assert other == []


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_in_several_files_are_put_together(tmp_path, suffix):
    _, ours = mask2former_pair(tmp_path, "swin")
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    write = save_file if suffix == "safetensors" else torch.save
    names = sorted(state)
    parts = {f"a.{suffix}": names[::2], f"b.{suffix}": names[1::2]}
    for file, keys in parts.items():
        write({key: state[key] for key in keys}, tmp_path / file)
    weight_map = {key: file for file, keys in parts.items() for key in keys}
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    index = tmp_path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    for output in ("one.pth", "one.safetensors", "folder"):
        convert_model(tmp_path, tmp_path / output)
    packed = read_checkpoint(tmp_path / "folder" / "model.safetensors")
    for output in ("one.pth", "one.safetensors"):
        written = read_checkpoint(tmp_path / output)
        assert written.keys() == packed.keys()
        assert all(torch.equal(written[key], packed[key]) for key in packed)
    cfg = config_from_hugging_face(tmp_path)
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    ReleaseCheckpointer(model).load(str(tmp_path))
    assert same(model, ours)
    (tmp_path / f"b.{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match=rf"index\.json names b\.{suffix}, which is not"):
        read_checkpoint(index)
    index.write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json has no weight_map"):
        read_checkpoint(index)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_names_of_hugging_faces_may_have_a_wrappers_before_them(tmp_path, prefix, is_wrapped):
    _, ours = mask2former_pair(tmp_path, "swin")
    state = load_file(tmp_path / "model.safetensors")
    state = {f"{prefix}{key}": value for key, value in state.items()}
    torch.save({"model": state} if is_wrapped else state, tmp_path / "parallel.pth")
    loaded = Segmenter.from_config(tmp_path, tmp_path / "parallel.pth").model
    assert same(loaded, ours)


def test_other_models_and_backbones_are_refused(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "detr"}))
    with pytest.raises(ValueError, match="describes a 'detr', known are"):
        config_from_hugging_face(tmp_path)


@pytest.mark.parametrize(
    ("keys", "system"),
    [
        (["model.pixel_level_module.x", "model.task_encoder.x"], "hf-oneformer"),
        (["model.pixel_level_module.x", "class_predictor.weight"], "hf-mask2former"),
        (["sem_seg_head.predictor.x", "task_mlp.layers.0.weight"], "oneformer"),
        (["sem_seg_head.predictor.x", "clip_adapter.x"], "freeseg"),
        (["sem_seg_head.predictor.x"], "mask2former"),
        (["stem.conv1.weight"], None),
    ],
)
def test_the_system_is_seen_from_the_names(keys, system):
    assert detect_system(keys) == system
