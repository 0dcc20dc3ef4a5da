"""What is wrong with a Hugging Face folder's config.json is one line that names it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from freeseg import Segmenter
from freeseg.checkpoints import config_from_hugging_face
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
        (with_value("backbone_config", {"model_type": "vit"}), "wanted a Swin or a ResNet"),
        (with_value("num_queries", "many"), "has an unexpected value: .*NUM_OBJECT_QUERIES"),
        (
            with_value("encoder_layers", None),
            "has an unexpected value: null for .*TRANSFORMER_ENC_LAYERS",
        ),
        (with_value("model_type", "segformer"), "describes a 'segformer'"),
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
