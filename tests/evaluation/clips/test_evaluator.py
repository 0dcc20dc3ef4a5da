"""Scores of clips: by hand, as another evaluation gives them, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from freeseg.data import register_all
from freeseg.data.clips import clip_of
from freeseg.data.records import dataset_records
from freeseg.evaluation.clips import LABEL_MAPS_KEY, ClipEvaluator, judge_clip
from freeseg.evaluation.clips.scores import ObjectSeries, davis_scores, youtube_vos_scores

sys.path.insert(0, str(Path(__file__).parents[2]))
from clip_files import SIZE, scene, seen_badly, write_clip, write_davis, write_meta


@pytest.fixture
def root(tmp_path):
    register_all(tmp_path)
    yield tmp_path
    register_all()


def half(number, upper=True):
    """An object of one half of the frame."""
    labels = np.zeros(SIZE, np.uint8)
    labels[: SIZE[0] // 2 if upper else None] = number
    return labels


def first_clip(name="davis_2017_val"):
    return clip_of(dataset_records(name)[0])


def judge(name, maps):
    """{object: its J on every frame}"""
    return {one.number: one.regions for one in judge_clip(first_clip(name), maps)}


def test_scores_by_hand():
    series = [
        ObjectSeries("a", 1, None, [1.0, 0.8, 0.6, 0.4], [0.5, 0.5, 0.5, 0.5]),
        ObjectSeries("a", 2, None, [0.2], [1.0]),
        ObjectSeries("b", 1, None, [0.6, 0.6], [0.0, 1.0]),
    ]
    scores = davis_scores(series)
    assert scores == pytest.approx(
        {
            "J&F": 100 * (0.7 + 0.2 + 0.6 + 0.5 + 1.0 + 0.5) / 6,
            "J": 50.0,
            "J_recall": 100 * (0.75 + 0 + 1) / 3,
            "J_decay": 100 * (0.9 - 0.5) / 3,  # of a's frames two and two
            "F": 100 * 2 / 3,
            "F_recall": 100 * (0 + 1 + 0.5) / 3,
            "F_decay": 100 * (0 + 0 - 0.5 + 0) / 3 * 2,  # b: 0 at first, 1 at last
            "J-a_1": 70.0,
            "J-a_2": 20.0,
            "J-b_1": 60.0,
            "F-a_1": 50.0,
            "F-a_2": 100.0,
            "F-b_1": 50.0,
        }
    )


def test_the_overall_score_of_seen_and_unseen_classes_by_hand():
    series = [
        ObjectSeries("a", 1, True, [1.0, 0.5], [0.5, 0.5]),
        ObjectSeries("a", 2, True, [0.25], [0.5]),
        ObjectSeries("b", 1, False, [0.2], [0.3]),
        ObjectSeries("b", 2, None, [0.0], [0.0]),  # of no known class
    ]
    scores = youtube_vos_scores(series)
    assert scores == pytest.approx({"G": 37.5, "Js": 50.0, "Fs": 50.0, "Ju": 20.0, "Fu": 30.0})
    assert np.isnan(youtube_vos_scores(series[:2])["Ju"])


def test_scores_are_those_of_vos_benchmark(root):
    """Numbers that vos-benchmark 0.1.0 (PyPI) gives of the same files."""
    write_davis(root, {"scene": [scene(frame) for frame in range(8)]})
    evaluator = ClipEvaluator()
    records = dataset_records("davis_2017_val")
    evaluator.process(records, [{LABEL_MAPS_KEY: map(seen_badly, range(8))}])
    scores = evaluator.evaluate()["clips"]
    expected = {
        "J&F": 55.879378297118166,
        "J": 57.22134193982742,
        "F": 54.53741465440891,
        "J-scene_1": 69.9060441598505,
        "J-scene_2": 48.12723054578747,
        "J-scene_3": 53.63075111384429,
        "F-scene_1": 55.87196910599898,
        "F-scene_2": 63.50396565442106,
        "F-scene_3": 44.23630920280671,
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_the_masks_themselves_are_perfect_and_the_ends_are_not_judged(root):
    truth = [scene(frame) for frame in range(5)]
    write_davis(root, {"scene": truth})
    wrong = np.zeros(SIZE, np.uint8)
    found = judge("davis_2017_val", [wrong, *truth[1:4], wrong])
    assert found == {1: [1.0] * 3, 2: [1.0] * 3, 3: [1.0] * 3}


def test_void_is_background(root):
    write_davis(root, {"a": [half(1), np.where(half(1), 1, 255), half(1)]})
    assert judge("davis_2017_val", [half(1)] * 3) == {1: [1.0]}
    everywhere = np.ones(SIZE, np.uint8)
    assert judge("davis_2017_val", [everywhere] * 3) == {1: [0.5]}


def test_an_object_that_is_missing_on_the_first_frame_counts_as_empty(root):
    write_davis(root, {"a": [half(2), half(2), half(2)]})
    assert judge("davis_2017_val", [half(2)] * 3) == {1: [1.0], 2: [1.0]}
    assert judge("davis_2017_val", [half(1)] * 3) == {1: [0.0], 2: [0.0]}


def test_objects_are_judged_after_they_begin(root):
    folder = root / "youtube_vos/2018"
    both = np.maximum(half(1), np.flipud(half(2)))
    write_clip(folder / "valid", "v", [half(1), half(1), both, both])
    objects = {"1": ("dog", ["00000"]), "2": ("yak", ["00002"])}
    write_meta(folder / "valid", {"v": objects})
    write_meta(folder / "train", {"w": {"1": ("dog", ["00000"])}})
    maps = [half(0), half(1), half(0), both]
    assert judge("youtube_vos_2018_valid", maps) == {1: [1.0, 0.0, 1.0], 2: [1.0]}
    evaluator = ClipEvaluator()
    evaluator.process(dataset_records("youtube_vos_2018_valid"), [{LABEL_MAPS_KEY: maps}])
    scores = evaluator.evaluate()["clips_seen_unseen"]
    expected = {"Js": 200 / 3, "Fs": 200 / 3, "Ju": 100, "Fu": 100, "G": 250 / 3}
    assert scores == pytest.approx(expected)


def test_what_a_server_judges_has_no_scores_here_but_files(root, tmp_path, caplog):
    write_clip(root / "MOSE/valid", "q", [half(1)], frames=3)
    evaluator = ClipEvaluator(tmp_path / "out")
    evaluator.process(dataset_records("mose_valid"), [{LABEL_MAPS_KEY: [half(1)] * 3}])
    assert evaluator.evaluate() == {}
    assert f"1 of 1 objects have no masks to be judged by; label maps are in {tmp_path}/out" in (
        caplog.text
    )
    assert len(list((tmp_path / "out/q").iterdir())) == 3


WRONG = {
    "too few": (lambda maps: maps[:2], "a: 2 label maps of 3 frames"),
    "none": (lambda maps: [], "a: 0 label maps of 3 frames"),
    "too many": (lambda maps: [*maps, maps[0]], "a: more label maps than its 3 frames"),
    "another size": (
        lambda maps: [maps[0], maps[1][:50], maps[2]],
        r"a: the label map of 00001 is \(50, 120\), its frame \(90, 120\)",
    ),
    "scores": (lambda maps: [one.astype(np.float32) for one in maps], "whole numbers, got float32"),
    "unknown": (lambda maps: [one * 2 for one in maps], "00000 has object 2, the clip has 1"),
    "void": (lambda maps: [maps[0], half(255), maps[2]], "00001 has object 255, the clip has 1"),
    "left out": (lambda maps: [None] * 3, "a: there is no label map of 00001"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_label_maps_that_cannot_be_judged_are_refused(root, wrong):
    write_davis(root, {"a": [half(1)] * 3})
    spoil, told = WRONG[wrong]
    with pytest.raises(ValueError, match=told):
        judge_clip(first_clip(), spoil([half(1)] * 3))


def test_a_frame_is_judged_and_written_before_the_next_is_asked_for(root, tmp_path):
    write_davis(root, {"a": [half(1)] * 4})
    file = str(tmp_path / "a/{:05d}.png")

    def track():
        for frame in range(4):
            assert frame == 0 or Path(file.format(frame - 1)).is_file()
            assert not Path(file.format(frame)).exists()
            yield torch.from_numpy(half(1).astype(np.int32))

    evaluator = ClipEvaluator(tmp_path)
    evaluator.process(dataset_records("davis_2017_val"), [{LABEL_MAPS_KEY: track()}])
    assert evaluator.evaluate()["clips"]["J&F"] == 100
    evaluator.reset()
    assert evaluator.evaluate() == {}
