"""What is wrong with a Hugging Face folder's config.json is one line that names it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from freeseg import Segmenter
from freeseg.checkpoints import (
    config_from_hugging_face,
    hugging_face_config,
    hugging_face_origins,
    register_port,
)
from freeseg.cli import main

sys.path.insert(0, str(Path(__file__).parents[1]))
from hugging_face_ports import mask2former_pair


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    mask2former_pair(folder, "swin")
    return folder


@pytest.fixture
def port(saved, tmp_path) -> dict:
    for file in saved.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "config.json").unlink()
    return json.loads((saved / "config.json").read_text())


def without(key: str):
    return lambda port: port.pop(key)


RESNET = {
    "model_type": "resnet",
    "layer_type": "bottleneck",
    "depths": [3, 4, 6, 3],
    "hidden_sizes": [16, 32, 64, 128],
    "embedding_size": 8,
    "downsample_in_bottleneck": False,
}


@pytest.mark.parametrize(
    "change",
    [
        {"depths": [1, 1, 1, 1]},
        {"layer_type": "basic", "depths": [2, 2, 2, 2]},
        {"hidden_sizes": [16, 32, 48, 64]},
    ],
)
def test_a_resnet_that_cannot_be_built_says_which_can(port, tmp_path, change):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**port, "backbone_config": RESNET}))
    assert config_from_hugging_face(tmp_path).MODEL.RESNETS.DEPTH == 50
    file.write_text(json.dumps({**port, "backbone_config": {**RESNET, **change}}))
    message = "bottleneck with depths 3-4-6-3 or 3-4-23-3 or 3-8-36-3 and hidden_sizes that double"
    with pytest.raises(ValueError, match=message):
        config_from_hugging_face(tmp_path)


def with_value(key: str, value: object):
    return lambda port: port.update({key: value})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("num_queries"), r"lacks 'num_queries'"),
        (lambda port: port.update(num_querys=port.pop("num_queries")), r"\(it has 'num_querys'\)"),
        (without("backbone_config"), "lacks 'backbone_config'"),
        (lambda port: port["backbone_config"].pop("embed_dim"), "lacks 'embed_dim'"),
        (with_value("backbone_config", "swin"), "has an unexpected value"),
        (with_value("backbone_config", {"model_type": "vit"}), "wanted a swin or a resnet"),
        (with_value("num_queries", "many"), "mismatch \\(int vs. str\\) .*NUM_OBJECT_QUERIES"),
        (
            with_value("encoder_layers", None),
            "has an unexpected value: null for .*TRANSFORMER_ENC_LAYERS",
        ),
        (
            with_value("model_type", "segformer"),
            "describes a 'segformer', known are .*mask2former",
        ),
        (without("model_type"), "has no model_type, .* or a model that `freeseg models` lists"),
        (with_value("id2label", {"0": "a", "2": "b"}), "id2label has no name for 1"),
    ],
)
def test_one_line_says_what_is_wrong(port, tmp_path, capsys, damage, message):
    damage(port)
    (tmp_path / "config.json").write_text(json.dumps(port))
    with pytest.raises(ValueError, match=rf"config.json.*{message}") as caught:
        config_from_hugging_face(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=message):
        Segmenter.from_pretrained(tmp_path)
    assert main(["info", str(tmp_path)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("freeseg: error: ")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "holds a list, wanted an object")]
)
def test_a_damaged_file_is_one_line(port, tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=f"config.json {message}"):
        config_from_hugging_face(tmp_path)


def test_another_number_of_names_than_weights_is_one_line(port, tmp_path):
    port["id2label"] = {"0": "a", "1": "b"}
    (tmp_path / "config.json").write_text(json.dumps(port))
    with pytest.raises(ValueError, match="of 7 classes, the model has 2") as caught:
        Segmenter.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_port_that_says_all_itself_needs_no_processor_and_no_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(hugging_face_config, "_ports", dict(hugging_face_config._ports))
    register_port("round", lambda port: {"MODEL.META_ARCHITECTURE": port["shape"]})
    (tmp_path / "config.json").write_text('{"model_type": "round", "shape": "Ball"}')
    cfg = config_from_hugging_face(tmp_path)
    assert cfg.MODEL.META_ARCHITECTURE == "Ball"
    assert str(tmp_path) == cfg.MODEL.WEIGHTS
    assert hugging_face_origins(tmp_path) == {"input": "config.json"}
    (tmp_path / "config.json").write_text('{"model_type": "round", "shapes": "Ball"}')
    with pytest.raises(ValueError, match=r"lacks 'shape' \(it has 'shapes'\)"):
        config_from_hugging_face(tmp_path)
