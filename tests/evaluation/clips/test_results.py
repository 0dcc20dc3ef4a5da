"""Label maps as files: DAVIS's palette, what was written is read, what is missing is named."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.cli import main
from freeseg.data import register_all, register_custom
from freeseg.data.clips import clip_of
from freeseg.data.problems import DataError
from freeseg.data.records import dataset_records
from freeseg.evaluation.clips import ResultWriter, evaluate_folder
from freeseg.evaluation.clips.results import davis_palette, label_png
from freeseg.files import WriteError

sys.path.insert(0, str(Path(__file__).parents[2]))
from clip_files import scene, seen_badly, write_clip, write_davis, write_mask

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
# J and F of the first mask on every frame, by vos-benchmark 0.1.0 (PyPI)
FIRST_MASKS = {
    "dog": (36.61047786328923, 23.73126875152884),
    "chair": (44.13365887205009, 79.34293142741011),
    "kite-surf": (14.037860301876934, 39.09955305466994),
}


@pytest.fixture
def root(tmp_path):
    register_all(tmp_path)
    yield tmp_path
    register_all()


def test_the_palette_is_pascal_vocs():
    palette = davis_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)}
    known |= {7: (128, 128, 128), 8: (64, 0, 0), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {number: tuple(palette[number].tolist()) for number in known} == known
    assert len(np.unique(palette, axis=0)) == 256


def test_a_map_is_a_png_with_this_palette():
    labels = np.arange(256).reshape(16, 16)
    picture = Image.open(io.BytesIO(label_png(labels)))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), labels)
    np.testing.assert_array_equal(
        np.asarray(picture.convert("RGB")).reshape(-1, 3), davis_palette()
    )
    for wrong in (labels + 1, labels - 1):
        with pytest.raises(ValueError, match=r"object numbers must lie in 0..255, got"):
            label_png(wrong)


def write_results(folder, find, count=8):
    clip = clip_of(dataset_records("davis_2017_val")[0])
    for frame in range(count):
        path = ResultWriter(folder).write(clip, frame, find(frame))
        assert path == folder / "scene" / f"{frame:05d}.png"


@pytest.fixture
def results(root):
    """A folder of files for eight frames, of which the ends are not judged."""
    write_davis(root, {"scene": [scene(frame) for frame in range(8)]})
    write_results(root / "results", seen_badly)
    return root / "results"


def test_what_was_written_is_judged(results):
    scores = evaluate_folder(results, "davis_2017_val")["clips"]
    assert scores["J&F"] == pytest.approx(55.879378297118166, abs=1e-9)  # of vos-benchmark
    for end in ("00000", "00007"):
        (results / f"scene/{end}.png").unlink()
    assert evaluate_folder(results, "davis_2017_val")["clips"] == scores


def test_a_file_that_cannot_be_written_is_named(root, results):
    clip = clip_of(dataset_records("davis_2017_val")[0])
    (root / "taken").write_text("")
    with pytest.raises(WriteError, match=r"taken/scene/00000.png cannot be written"):
        ResultWriter(root / "taken").write(clip, 0, scene(0))


def test_missing_files_are_named_by_clip(results):
    for frame in (3, 5):
        (results / f"scene/{frame:05d}.png").unlink()
    with pytest.raises(DataError, match=r"scene/00003.png does not exist: 2 of 6 frames of scene"):
        evaluate_folder(results, "davis_2017_val")


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (np.full((90, 120), 9), "the label map of 00002 has object 9, the clip has 1, 2, 3"),
        (np.ones((45, 60)), r"the label map of 00002 is \(45, 60\), its frame \(90, 120\)"),
        (np.tile(np.arange(3), (90, 120, 1)), r"scene/00002.png has colours"),
    ],
    ids=["unknown", "size", "colours"],
)
def test_files_that_cannot_be_judged_are_refused(results, pixels, told):
    write_mask(results / "scene/00002.png", pixels, palette=False)
    with pytest.raises(ValueError, match=told):
        evaluate_folder(results, "davis_2017_val")


@pytest.mark.parametrize("value", [1, 255])
def test_where_all_objects_are_one_any_value_is_it(root, value):
    write_davis(root, {"a": [scene(frame) for frame in range(4)]}, year="2016")
    for frame in range(4):
        found = (seen_badly(frame) > 0) * value
        write_mask(root / f"results/a/{frame:05d}.png", found, palette=False)
    truths, founds = ([each(frame) > 0 for frame in (1, 2)] for each in (scene, seen_badly))
    overlaps = [(t & f).sum() / (t | f).sum() for t, f in zip(truths, founds)]
    scores = evaluate_folder(root / "results", "davis_2016_val")["clips"]
    assert scores["J"] == pytest.approx(100 * np.mean(overlaps))


def test_a_set_that_a_server_judges_is_said_to_be(root):
    write_clip(root / "MOSE/valid", "q", [scene(0)], frames=3)
    with pytest.raises(ValueError, match="mose_valid has masks where objects begin and no others"):
        evaluate_folder(root, "mose_valid")
    with pytest.raises(ValueError, match="shapes_val_panoptic is no dataset of clips"):
        evaluate_folder(root, "shapes_val_panoptic")


def test_the_command_prints_a_table_and_writes_scores(results, tmp_path, capsys):
    output = tmp_path / "scores.json"
    line = ["evaluate-clips", str(results), "--dataset", "davis_2017_val", "--output", str(output)]
    assert main(line) == 0
    rows = capsys.readouterr().out.strip().splitlines()
    assert rows[0].split(" | ")[1:4] == ["  J&F", "    J", "J_recall"]
    assert rows[-1].startswith("| objects in clips | 55.88 | 57.22 |")
    assert json.loads(output.read_text())["clips"]["F-scene_3"] == pytest.approx(44.2363092)


MISTAKES = {
    "no folder": (["absent", "--dataset", "davis_2017_val"], "absent is no folder"),
    "no set": ([".", "--dataset", "davis_val"], "no dataset is registered as 'davis_val'; did you"),
    "no clips": ([".", "--dataset", "shapes_val_panoptic"], "is no dataset of clips"),
    "no files": ([".", "--dataset", "davis_2017_val"], "scene/00001.png does not exist"),
    "no configuration": ([".", "--dataset", "x", "--config-file", "no.yaml"], "no.yaml does not"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(results, mistake, monkeypatch, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    arguments, told = MISTAKES[mistake]
    assert main(["evaluate-clips", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no sample data: {SHARED} does not exist")
def test_first_masks_of_real_clips_have_the_scores_of_vos_benchmark(tmp_path):
    folder = SHARED / "data/video"
    (tmp_path / "list.txt").write_text("\n".join([*FIRST_MASKS, "caps"]))
    parts = [str(folder / part) for part in ("JPEGImages/480p", "Annotations/480p")]
    register_custom([["clips_with_first_masks", str(tmp_path / "list.txt"), *parts]])
    for record in dataset_records("clips_with_first_masks"):
        clip = clip_of(record)
        for frame in range(len(clip.frames)):
            ResultWriter(tmp_path).write(clip, frame, clip.begun(0))
    scores = evaluate_folder(tmp_path, "clips_with_first_masks")["clips"]
    for name, (regions, contours) in FIRST_MASKS.items():
        found = scores[f"J-{name}_1"], scores[f"F-{name}_1"]
        assert found == pytest.approx((regions, contours), abs=1e-9)
    assert scores["J-caps_2"] == 0  # which the first mask does not have
