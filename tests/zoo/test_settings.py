"""`freeseg info` says what a model's configuration is, and where each part of it is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freeseg import Segmenter
from freeseg.catalog import dataset_metadata
from freeseg.cli import main
from freeseg.systems.building import load_config
from freeseg.zoo import describe_model, description, find_model, load_catalog, resolution
from freeseg.zoo.published import TEST_SETTINGS

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import write_config, write_weights
from hugging_face_ports import mask2former_pair, oneformer_pair

ROOT = Path(__file__).resolve().parents[2]
PROCESSOR = {"image_processor_type": "Mask2FormerImageProcessor"}
HUB = [card for card in load_catalog().values() if card.weights.kind == "hub"]


def write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))


def lines_of(model: object, capsys) -> dict[str, str]:
    capsys.readouterr()
    assert main(["info", str(model)]) == 0
    shown = capsys.readouterr().out
    return {line[:11].strip(): line[12:] for line in shown.splitlines()}


def test_a_hugging_face_folder_says_all_and_where_it_is_from(tmp_path, capsys) -> None:
    mask2former_pair(tmp_path, "swin")
    write_json(
        tmp_path / "preprocessor_config.json", {**PROCESSOR, "size": {"height": 96, "width": 64}}
    )
    names = [f"thing {label}" for label in range(6)] + ["sky"]
    rows = [{"id": i, "name": name, "isthing": int(i < 6)} for i, name in enumerate(names)]
    write_json(tmp_path / "classes.json", rows)
    lines = lines_of(tmp_path, capsys)
    assert lines["system"] == "Mask2Former (config.json)"
    assert lines["backbone"] == "Swin, 24 channels, depths 1-1-2-1 (config.json)"
    assert lines["classes"] == f"{', '.join(names)} (classes.json)"
    assert lines["things"] == "6 of the 7 classes (classes.json)"
    assert lines["input"] == (
        "96 high, 64 wide, stretched to multiples of 32, bilinear (preprocessor_config.json)"
    )
    assert lines["thresholds"] == (
        "panoptic segments of a score above 0.5 that show 80% of themselves or more; "
        "the 6 best instances (defaults of the port's post-processing)"
    )


def test_what_a_hugging_face_folder_does_not_say(tmp_path, capsys) -> None:
    oneformer_pair(tmp_path, "resnet")
    lines = lines_of(tmp_path, capsys)
    assert lines["system"] == "OneFormer (config.json)"
    assert lines["backbone"] == "ResNet-50 (config.json)"
    assert lines["things"] == "all 7 classes (the port: nothing says which are things)"
    assert lines["input"] == (
        "shortest side 800, longest at most 1333, bilinear "
        "(the port's own: no preprocessor_config.json)"
    )


@pytest.mark.parametrize(
    ("unset", "said"),
    [
        (["do_normalize"], ", not normalised"),
        (["do_rescale"], ", not rescaled to 0..1"),
        (["do_rescale", "do_normalize"], ", not normalised, not rescaled to 0..1"),
    ],
)
def test_what_is_not_done_to_pixels_is_said(tmp_path, capsys, unset, said) -> None:
    mask2former_pair(tmp_path, "swin")
    file = tmp_path / "preprocessor_config.json"
    write_json(file, {**PROCESSOR, **dict.fromkeys(unset, False)})
    assert lines_of(tmp_path, capsys)["input"].endswith(f"bilinear{said} ({file.name})")


def test_a_file_beside_config_json_is_of_its_folder(tmp_path, capsys) -> None:
    mask2former_pair(tmp_path, "swin")
    folder = lines_of(tmp_path, capsys)
    for name in ("model.safetensors", "config.json"):
        assert {**lines_of(tmp_path / name, capsys), "model": folder["model"]} == folder
    own = Segmenter.from_pretrained(tmp_path).model.state_dict()
    named = Segmenter.from_pretrained(tmp_path / "model.safetensors").model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in named.items())


def test_classes_of_a_release_bring_its_thresholds(tmp_path) -> None:
    mask2former_pair(tmp_path, "swin")
    file = tmp_path / "config.json"
    names = dataset_metadata("cityscapes_fine_instance_seg_val").thing_classes
    id2label = dict(zip(map(str, range(8)), names))
    write_json(file, {**json.loads(file.read_text()), "id2label": id2label})
    settings = describe_model(tmp_path)["settings"]
    assert settings["classes"]["value"] == list(names)
    assert settings["things"] == {
        "value": 8,
        "from": "the dataset cityscapes_fine_instance_seg_val",
    }
    assert settings["thresholds"]["from"] == "the release of these classes"
    assert settings["thresholds"]["value"].startswith("panoptic segments of a score above 0.8 ")


def test_a_training_folder_says_all_and_where_it_is_from(tmp_path, capsys) -> None:
    write_config(tmp_path).rename(tmp_path / "config.yaml")
    write_weights(tmp_path).rename(tmp_path / "model_final.pth")
    lines = lines_of(tmp_path, capsys)
    assert lines["system"] == "StrongestChannel (config.yaml)"
    assert lines["backbone"] == "ResNet-50 (config.yaml)"
    assert lines["things"].startswith("1 of the 3 classes (dataset ")
    assert lines["input"] == "shortest side 40, longest at most 120, bilinear (config.yaml)"
    write_json(
        tmp_path / "classes.json", [{"id": i, "name": f"n{i}", "isthing": 0} for i in (1, 2, 3)]
    )
    lines = lines_of(tmp_path, capsys)
    assert lines["classes"] == "n1, n2, n3 (classes.json)"
    assert lines["things"] == "none of the 3 classes (classes.json)"
    assert lines["system"] == "StrongestChannel (config.yaml)"


ON = {
    "instances alone": ("INSTANCE", "the 100 best instances (config.yaml)"),
    "a semantic map alone": ("SEMANTIC", None),
    "all": (
        "SEMANTIC INSTANCE PANOPTIC",
        "panoptic segments of a score above 0.8 that show 0% of themselves or more; "
        "the 100 best instances (config.yaml)",
    ),
}


@pytest.mark.parametrize(("tasks", "expected"), ON.values(), ids=ON)
def test_thresholds_are_of_the_tasks_that_are_on(tmp_path, capsys, tasks, expected) -> None:
    test = {f"{task}_ON": task in tasks for task in ("SEMANTIC", "INSTANCE", "PANOPTIC")}
    node = {"META_ARCHITECTURE": "Mask2Former", "MASK_FORMER": {"TEST": test}}
    test["OBJECT_MASK_THRESHOLD"] = 0.8
    (tmp_path / "config.yaml").write_text(json.dumps({"MODEL": node}))
    write_weights(tmp_path).rename(tmp_path / "model_final.pth")
    said = lines_of(tmp_path, capsys).get("thresholds")
    assert said == expected


def test_what_a_model_knows_and_takes_is_said(capsys) -> None:
    lines = lines_of("camvid", capsys)
    assert lines["knows"] == "street scenes"
    assert lines["takes"] == "any words"
    assert lines["unsure"] == "below 0.75"
    assert {"takes", "knows"} & set(lines_of("camvid-mask2former", capsys)) == {"knows"}


def test_systems_without_segments_have_no_thresholds(capsys) -> None:
    assert "thresholds" not in lines_of("camvid-lseg", capsys)
    assert lines_of("camvid", capsys)["thresholds"] == (
        "panoptic segments of a score above 0.5 that show 50% of themselves or more, "
        "from 50 pixels on; the 40 best instances (configs/freeseg/camvid/minilm.yaml)"
    )


@pytest.mark.parametrize("card", HUB, ids=lambda card: card.name)
def test_rows_of_the_hub_are_tested_as_the_release_they_are_of(card) -> None:
    """The row of the original weights with this configuration has the same data and backbone."""
    assert (ROOT / card.settings).is_file()
    twins = [other for other in load_catalog().values() if other.config == card.settings]
    if not twins:  # a configuration whose weights are on the hub only
        is_mm = card.name.startswith("openmmlab-community/mm_")
        assert is_mm or card.name == "shi-labs/oneformer_ade20k_swin_tiny"
        return
    for twin in twins:
        assert (twin.system, twin.data) == (card.system, card.data)
        assert twin.backbone.split()[0] == card.backbone
        assert set(twin.tasks) <= set(card.tasks)


@pytest.mark.parametrize(
    ("name", "published", "size"),
    [
        ("facebook/mask2former-swin-tiny-ade-semantic", "semantic_swin_tiny", (512, 2048)),
        ("facebook/mask2former-swin-large-ade-panoptic", "panoptic_swin_large", (640, 2560)),
    ],
)
def test_a_row_of_the_hub_is_seen_at_the_published_size(
    tmp_path, monkeypatch, name, published, size
) -> None:
    mask2former_pair(tmp_path, "swin")
    write_json(
        tmp_path / "preprocessor_config.json", {**PROCESSOR, "size": {"height": 384, "width": 384}}
    )
    for place in (resolution, description):
        monkeypatch.setattr(place, "local_weights", lambda source: tmp_path)
    cfg = find_model(name).config
    expected = load_config(ROOT / f"configs/mask2former/ade20k/{published}.yaml")
    assert size == (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    for key in TEST_SETTINGS:
        found, wanted = cfg, expected
        for part in key.split("."):
            found, wanted = found[part], wanted[part]
        assert found == wanted, key
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 7  # what is built is the folder's
    segmenter = Segmenter.from_pretrained(name, opts=["INPUT.MIN_SIZE_TEST", "64"])
    assert segmenter.model.size_divisibility == 32
    about = describe_model(name)["settings"]
    assert about["input"]["from"] == f"configs/mask2former/ade20k/{published}.yaml"
    assert about["input"]["value"] == (
        f"shortest side {size[0]}, longest at most {size[1]}, bilinear"
    )
    # by its path the same folder is seen as its processor says
    assert find_model(tmp_path).config == str(tmp_path)
