"""`Segmenter.from_pretrained` finds a model by its name, its folder, its file and on the hub."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from freeseg import Segmenter, build_model
from freeseg.checkpoints import read_checkpoint
from freeseg.engine import AtomicCheckpointer
from freeseg.systems.building import load_config
from freeseg.zoo import DownloadError, ModelCard, find_model, load_catalog, weights_path
from freeseg.zoo import resolution as module
from freeseg_command.catalog import WeightsSource

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from file_server import running
from fixed_model import NAMES, write_config, write_weights

ROOT = Path(__file__).resolve().parents[2]
PHOTO = np.zeros((20, 30, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As a training leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder).rename(folder / "config.yaml")
    write_weights(folder).rename(folder / "model_final.pth")
    return folder


def test_bundled_models_work_by_their_name() -> None:
    bundled = [card for card in load_catalog().values() if card.is_bundled]
    assert {"camvid", "camvid-lseg", "camvid-mask2former", "toy"} <= {card.name for card in bundled}
    for card in bundled:
        found = find_model(card.name)
        assert Path(found.config).is_file()
        assert Path(found.weights).is_file()
        assert found.card == card


def test_camvid_segments_a_photo_by_its_name() -> None:
    segmenter = Segmenter.from_pretrained("camvid", opts=["INPUT.MIN_SIZE_TEST", "64"])
    assert segmenter.vocabulary.names[:2] == ("car", "pedestrian")
    assert segmenter(PHOTO).panoptic.segment_ids.shape == (20, 30)
    found = segmenter(PHOTO, text=["automobile", "heavens"], task="semantic")
    assert found.vocabulary.names == ("automobile", "heavens")


def test_a_training_folder_and_its_checkpoint(folder: Path) -> None:
    for source in (folder, str(folder), folder / "model_final.pth"):
        assert Segmenter.from_pretrained(source).vocabulary.names == NAMES


def test_the_last_checkpoint_of_a_training_that_was_stopped(folder: Path) -> None:
    (folder / "model_final.pth").rename(folder / "model_0000099.pth")
    (folder / "last_checkpoint").write_text("model_0000099.pth")
    assert find_model(folder).weights == str(folder / "model_0000099.pth")


def test_a_folder_that_names_its_classes_needs_no_dataset(folder: Path) -> None:
    rows = [
        {"id": 7, "name": "grass", "isthing": 0},
        {"id": 3, "name": "ball", "isthing": 1},
        {"id": 4, "name": "air", "isthing": 0},
    ]
    (folder / "classes.json").write_text(json.dumps(rows))
    segmenter = Segmenter.from_pretrained(folder)
    assert segmenter.vocabulary.names == ("grass", "ball", "air")
    assert segmenter.vocabulary.is_thing == (False, True, False)
    assert segmenter(PHOTO, "semantic").category_ids == (7, 3, 4)


@pytest.mark.parametrize("broken", ["config.yaml", "model_final.pth"])
def test_what_a_folder_lacks_is_said(folder: Path, broken: str) -> None:
    (folder / broken).unlink()
    with pytest.raises(FileNotFoundError, match=r"wanted .*"):
        find_model(folder)


def test_a_checkpoint_alone_asks_for_its_configuration(tmp_path: Path) -> None:
    path = write_weights(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no config.yaml beside it.*--config-file"):
        find_model(path)


def test_a_name_that_is_nothing_is_said(tmp_path: Path) -> None:
    for name in ("no_such_model", "no/such/folder", "absent.pth", "some/absent.pth"):
        with pytest.raises(FileNotFoundError, match="there is no model"):
            find_model(name)


def card_with(weights: WeightsSource, config: str) -> ModelCard:
    return dataclasses.replace(
        load_catalog()["camvid-mask2former"], name="x", weights=weights, config=config
    )


def test_weights_are_downloaded_into_the_cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))
    config, weights = write_config(tmp_path), write_weights(tmp_path, gain=(0.0, 0.0, 1.0))
    with running() as server:
        server.files["/x.pth"] = weights.read_bytes()
        card = card_with(WeightsSource(url=f"{server.url}/x.pth"), "fixed.yaml")
        monkeypatch.setattr(module, "load_catalog", lambda: {"x": card})
        monkeypatch.setattr(module, "card_of", lambda name: card)
        monkeypatch.setattr(module, "resource", lambda relative: config)
        for _ in range(2):
            segmenter = Segmenter.from_pretrained("x")
        assert torch.equal(segmenter.model.gain.data, torch.tensor([0.0, 0.0, 1.0]))
        assert len(server.requests) == 1
    assert (tmp_path / "cache" / "models" / "x.pth").is_file()


def test_weights_that_others_replace_are_not_downloaded(tmp_path: Path, monkeypatch) -> None:
    config, weights = write_config(tmp_path), write_weights(tmp_path, gain=(0.0, 1.0, 0.0))
    card = card_with(WeightsSource(url="http://127.0.0.1:9/x.pth"), "fixed.yaml")
    monkeypatch.setattr(module, "load_catalog", lambda: {"x": card})
    monkeypatch.setattr(module, "card_of", lambda name: card)
    monkeypatch.setattr(module, "resource", lambda relative: config)
    segmenter = Segmenter.from_pretrained("x", opts=["MODEL.WEIGHTS", str(weights)])
    assert torch.equal(segmenter.model.gain.data, torch.tensor([0.0, 1.0, 0.0]))
    with pytest.raises(DownloadError):
        Segmenter.from_pretrained("x", opts=["SEED", "3"])


def test_a_folder_without_weights_takes_others(folder: Path, tmp_path: Path) -> None:
    weights = (folder / "model_final.pth").rename(tmp_path / "mine.pth")
    segmenter = Segmenter.from_pretrained(folder, opts=["MODEL.WEIGHTS", str(weights)])
    assert segmenter.vocabulary.names == NAMES


def test_what_only_a_person_can_download_says_where_to_put_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path))
    source = WeightsSource(page="https://example.org/page", name="y.pth")
    with pytest.raises(DownloadError, match=r"open https://example.org/page and .*models/y.pth"):
        module.local_weights(source)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "y.pth").touch()
    assert module.local_weights(source) == tmp_path / "models" / "y.pth"


def test_any_repository_of_the_hub_can_be_named(tmp_path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(module, "download_from_hub", lambda name: asked.append(name) or tmp_path)
    assert find_model("someone/model-1.5").weights == str(tmp_path)
    assert asked == ["someone/model-1.5"]


def test_weights_go_by_the_name_of_their_model(tmp_path: Path, monkeypatch) -> None:
    config = ROOT / "configs/camvid/mask2former_regnetx_002.yaml"
    segmenter = Segmenter.from_config(config, "camvid-mask2former")
    named = Segmenter.from_pretrained("camvid-mask2former")
    expected = named.model.state_dict()
    found = segmenter.model.state_dict()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "camvid").touch()
    assert weights_path("camvid") == "camvid"  # what is there goes before what is known
    assert weights_path("no_such_model") == "no_such_model"


def test_a_training_begins_with_weights_by_name(tmp_path: Path) -> None:
    cfg = load_config(ROOT / "configs/camvid/mask2former_regnetx_002.yaml")
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    AtomicCheckpointer(model, str(tmp_path)).resume_or_load("camvid-mask2former", resume=True)
    state = read_checkpoint(weights_path("camvid-mask2former"))
    loaded = model.state_dict()
    assert [key for key in state if not torch.equal(state[key].to(loaded[key]), loaded[key])] == []
