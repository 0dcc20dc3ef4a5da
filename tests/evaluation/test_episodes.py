"""Episodes out of data sets and folders, and systems that follow examples on them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data.few_shot import (
    DatasetEpisodes,
    EpisodeMapper,
    PairEpisodes,
    class_numbers,
    find_examples,
    folder_benchmark,
    sample_episodes,
)
from freeseg.data.pairs import PairSet
from freeseg.engine import few_shot
from freeseg.engine.few_shot import FewShotJob, run_dataset, run_lvis
from freeseg.evaluation.episodes import EpisodeSettings, episode_settings
from freeseg.evaluation.few_shot import FewShotEvaluator
from freeseg.evaluation.shown_examples import ShownExamples
from freeseg.inference.objects import objects_of_masks
from freeseg.structures import PROMPT_KEY, SegmentationResult, Takes, Task, Vocabulary, write_result

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data"))
from painted_photos import CAT, CLASSES, KITE, SKY, ids_of_photo, write_record
from tiny_systems import tiny_click_config, tiny_seggpt_config

NAMES = Vocabulary.from_classes(CLASSES)
SIZE = 24


class SameColours(nn.Module):
    """Finds the pixels that have a colour which the examples show under their masks."""

    def forward(self, batched_inputs):
        found = []
        for asked in batched_inputs:
            assert asked["tasks"] == (Task.OBJECT,)
            colours = torch.cat(
                [one.image[:, one.masks[0]].T for one in asked[PROMPT_KEY].examples]
            ).unique(dim=0)
            pixels = asked["image"].flatten(1).T
            is_like = (pixels[:, None] == colours).all(-1).any(-1)
            masks = is_like.view(1, *asked["image"].shape[1:])
            result = SegmentationResult(objects=objects_of_masks(masks, torch.ones(1)))
            found.append(write_result(result))
        return found


def records(folder, write_image, count: int = 3) -> list[dict]:
    """Photos of all classes, and one more of the sky alone."""
    some = [write_record(folder, write_image, ids_of_photo(), str(n)) for n in range(count)]
    sky = np.full((40, 56), 300, dtype=np.int32)
    return [*some, write_record(folder, write_image, sky, "sky")]


@pytest.fixture
def write_image():
    """Writes an array as a picture and returns the path."""

    def write(path: Path, pixels) -> Path:
        Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def pairs(tmp_path, write_image):
    return PairSet.of("painted", records(tmp_path, write_image), NAMES)


def episodes(pairs, shots=1, count=12, seed=0, **more) -> DatasetEpisodes:
    return DatasetEpisodes(pairs, PairEpisodes(), shots=shots, count=count, seed=seed, **more)


def test_an_episode_shows_a_class_on_other_photos(pairs):
    for episode in episodes(pairs, shots=2):
        assert len(episode["supports"]) == 2
        truth = episode["truth"].numpy()
        shown = {tuple(support["image"].shape) for support in episode["supports"]}
        assert episode["image"].shape[1:] == truth.shape
        for support in episode["supports"]:
            assert support["mask"].shape == support["image"].shape[1:]
            assert (support["mask"] == 1).any()
        assert (truth == 1).any()
        if episode["class_id"] != SKY:
            assert shown == {(3, 64, 96)}
            assert (truth[:10] == 255).all()  # void, as the annotation has it
        assert episode["vocabulary"].names[1] == CLASSES[episode["class_id"]]


def test_supports_are_never_the_query_and_equal_arguments_give_equal_episodes(pairs, monkeypatch):
    drawn = []
    call = PairEpisodes.__call__

    def noted(mapper, pair):
        drawn.append([pair.record["file_name"], *(one["file_name"] for one in pair.references)])
        return call(mapper, pair)

    monkeypatch.setattr(PairEpisodes, "__call__", noted)
    first = [one["file_name"] for one in episodes(pairs, shots=2)]
    again = [one["file_name"] for one in episodes(pairs, shots=2)]
    other = [one["file_name"] for one in episodes(pairs, shots=2, seed=1)]
    assert all(len(set(names)) == 3 for names in drawn)
    assert first == again != other


def test_classes_of_too_few_photos_are_left_out(pairs):
    assert set(episodes(pairs, shots=2).classes) == {KITE, CAT, SKY}
    assert set(episodes(pairs, shots=3).classes) == {SKY}
    with pytest.raises(ValueError, match="no class has the 5 photos"):
        episodes(pairs, shots=4)


def test_classes_are_walked_through_in_turn(pairs):
    walked = [one["class_id"] for one in episodes(pairs, count=7, walks=True)]
    assert walked == [KITE, CAT, SKY, KITE, CAT, SKY, KITE]


def test_photos_are_resized_where_a_protocol_wants_squares(pairs):
    mapper = PairEpisodes(side=32, image_format="BGR")
    (episode,) = DatasetEpisodes(pairs, mapper, shots=1, count=1, seed=0)
    assert episode["image"].shape == (3, 32, 32)
    assert episode["truth"].shape == (32, 32)
    with pytest.raises(IndexError):
        DatasetEpisodes(pairs, mapper, shots=1, count=1, seed=0)[1]


def test_unknown_classes_are_refused_with_the_known_ones():
    assert class_numbers(NAMES, ["sky", "kite"]) == [SKY, KITE]
    assert class_numbers(NAMES, []) is None
    with pytest.raises(ValueError, match="no class 'dog'; there are kite, cat, sky"):
        class_numbers(NAMES, ["cat", "dog"])


def test_what_is_found_of_the_supports_is_the_mask(pairs):
    """Flat colours: who looks for them is right in every pixel that is judged, but for crowds."""
    shown = ShownExamples(SameColours())
    evaluator = FewShotEvaluator({SKY: "sky", KITE: "kite"}, {SKY: True, KITE: False})
    for episode in episodes(pairs, count=30):
        if episode["class_id"] != CAT:
            evaluator.process([episode], shown([episode]))
    results = evaluator.evaluate()["few_shot"]
    assert results["mIoU"] == results["mIoU_seen"] == results["mIoU_unseen"] == 100
    with pytest.raises(ValueError, match="needs --shots of 1 or more"):
        shown([{**episodes(pairs)[0], "supports": []}])


def test_examples_are_rgb_whatever_the_order_of_the_episodes(pairs):
    seen = []

    class Keeps(SameColours):
        def forward(self, batched_inputs):
            seen.append(batched_inputs[0][PROMPT_KEY].examples[0].image)
            return super().forward(batched_inputs)

    rgb = episodes(pairs, count=1)[0]
    (bgr,) = DatasetEpisodes(pairs, PairEpisodes(image_format="BGR"), shots=1, count=1, seed=0)
    ShownExamples(Keeps())([rgb])
    ShownExamples(Keeps(), "BGR")([bgr])
    assert torch.equal(*seen)


def own_folder(root: Path) -> Path:
    """Two classes, whose masks are written in four ways."""
    square = np.zeros((SIZE, SIZE), np.uint8)
    square[4:12, 4:12] = 1
    unknown = square.copy()
    unknown[0] = 255
    masks = {
        "cup/1": Image.fromarray(square),
        "cup/2": Image.fromarray(unknown),
        "pen/1": Image.fromarray(square * 255),
        "pen/2": Image.fromarray(np.repeat(square[..., None] * 255, 3, 2)),
    }
    for name, mask in masks.items():
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask.save(path)
        Image.fromarray(np.repeat(square[..., None] * 200, 3, 2)).save(path.with_suffix(".jpg"))
    return root


def test_a_folder_of_photos_and_masks_is_a_benchmark(tmp_path):
    benchmark = folder_benchmark(own_folder(tmp_path))
    assert benchmark.classes == ("cup", "pen")
    found = find_examples(benchmark, tmp_path, "all")
    assert len(found) == 4
    mapper = EpisodeMapper(benchmark, side=0)
    read = [mapper(one)["truth"] for one in sample_episodes(benchmark, found, shots=1)]
    assert [int((mask == 1).sum()) for mask in read] == [64] * 4
    assert [int((mask == 255).sum()) for mask in read] == [0, SIZE, 0, 0]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no folder of a class"):
        folder_benchmark(tmp_path / "empty")


@pytest.fixture
def painted(tmp_path, write_image):
    """A registered set of such photos."""
    name = "painted_episodes"
    DatasetCatalog.register(name, lambda: records(tmp_path, write_image))
    MetadataCatalog.get(name).set(
        stuff_classes=list(CLASSES),
        thing_classes=["kite", "cat"],
        thing_dataset_id_to_contiguous_id={0: 0, 1: 1},
        stuff_dataset_id_to_contiguous_id={0: 0, 1: 1, 2: 2},
        evaluator_type="coco_panoptic_seg",
        ignore_label=255,
    )
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_a_system_is_evaluated_on_episodes_of_a_set_and_of_a_folder(tmp_path, painted):
    cfg = tiny_seggpt_config(["MODEL.WEIGHTS", "", "DATALOADER.NUM_WORKERS", 0])
    (results,) = run_dataset(
        cfg, painted, EpisodeSettings(count=4, classes=("kite", "cat"))
    ).items()
    assert results[0] == painted
    assert {"mIoU", "FB-IoU", "IoU-kite", "IoU-cat"} == set(results[1])
    job = FewShotJob("folder", own_folder(tmp_path / "own"), shots=1, side=32)
    assert set(job.run(cfg)) == {"all"}
    with pytest.raises(ValueError, match="no class 'dog'"):
        run_dataset(cfg, painted, EpisodeSettings(count=4, classes=("dog",)))


def test_folds_of_lvis_have_every_tenth_class(monkeypatch, painted):
    """Of three classes fold 0 has the first, fold 2 the third, fold 3 none."""
    monkeypatch.setattr(few_shot, "LVIS_92I", painted)
    cfg = tiny_seggpt_config(["MODEL.WEIGHTS", "", "DATALOADER.NUM_WORKERS", 0])
    settings = EpisodeSettings(count=2)
    found = run_lvis(cfg, settings, ("0", "2"))
    assert [set(fold) - {"mIoU", "FB-IoU"} for fold in found.values()] == [
        {"IoU-kite"},
        {"IoU-sky"},
    ]
    with pytest.raises(ValueError, match="has no record that shows any class"):
        run_lvis(cfg, settings, ("3",))
    with pytest.raises(ValueError, match="no fold 'ten'"):
        run_lvis(cfg, settings, ("ten",))


def test_only_systems_that_take_nothing_but_examples_are_shown_some(monkeypatch):
    cfg = tiny_seggpt_config(["TEST.EPISODES.SHOTS", 4, "TEST.EPISODES.COUNT", 7])
    assert episode_settings(cfg) == EpisodeSettings(4, 7)
    assert episode_settings(tiny_click_config()) is None
    with pytest.raises(ValueError, match="count must be 1 or more"):
        EpisodeSettings(count=0)
    assert Takes(needs=frozenset({"examples"})).kinds == {"examples"}
