"""What follows objects is run by Detectron2's loop, clip by clip and frame by frame."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from detectron2.config import get_cfg
from detectron2.evaluation import inference_on_dataset
from freeseg import add_freeseg_config
from freeseg.data import build_test_loader, register_all
from freeseg.data.problems import Problems
from freeseg.engine.dataset_checks import check_all
from freeseg.engine.evaluated_model import evaluated_model
from freeseg.evaluation import build_evaluators, results_table, truth_task, wanted_tasks
from freeseg.evaluation.clips import ClipTracking, clip_model
from freeseg.structures.clip_frame import ClipFrame

sys.path.insert(0, str(Path(__file__).parents[2]))
from clip_files import SIZE, disk, scene, write_clip, write_davis, write_meta
from small_inputs import CONFIGS
from tiny_systems import tiny_sam, tiny_seggpt, tiny_seggpt_config


class Repeating(nn.Module):
    """Says of every frame what masks have been given so far, the later ones before."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, frames):
        labels = torch.zeros(SIZE, dtype=torch.int64)
        for frame in frames:
            assert frame.image.shape == (*SIZE, 3)
            self.seen.append(None if frame.begins is None else frame.begins.unique().tolist())
            if frame.begins is not None:
                labels = torch.where(frame.begins > 0, frame.begins, labels)
            yield labels


@pytest.fixture
def root(tmp_path):
    register_all(tmp_path)
    yield tmp_path
    register_all()


@pytest.fixture
def cfg(tmp_path):
    config = get_cfg()
    add_freeseg_config(config)
    config.merge_from_file(str(CONFIGS / "sam/vit_b.yaml"))
    config.OUTPUT_DIR, config.DATALOADER.NUM_WORKERS = str(tmp_path / "output"), 0
    return config


def run(cfg, name, track):
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), (name,)
    model = clip_model(cfg, tiny_sam(), track)
    (evaluator,) = build_evaluators(cfg, name)
    return inference_on_dataset(model, build_test_loader(cfg, name), evaluator)


def test_davis_gives_all_masks_on_the_first_frame(root, cfg):
    write_davis(root, {"still": [scene(0)] * 4, "moving": [scene(frame) for frame in range(4)]})
    track = Repeating()
    results = run(cfg, "davis_2017_val", track)
    assert track.seen == [[0, 1, 2, 3], None, None, None] * 2
    scores = results["clips"]
    assert [scores[f"J-still_{number}"] for number in (1, 2, 3)] == [100.0] * 3
    first, moved = disk(30, 30, 14), [disk(30 + 2 * frame, 30, 14) for frame in (1, 2)]
    overlaps = [(first & one).sum() / (first | one).sum() for one in moved]
    assert scores["J-moving_1"] == pytest.approx(100 * np.mean(overlaps))
    assert "| objects in clips | " in results_table(results)
    written = cfg.OUTPUT_DIR + "/inference/davis_2017_val/{}/0000{}.png"
    assert all(Path(written.format(*each)).is_file() for each in (("still", 3), ("moving", 0)))


def test_a_mask_is_given_where_its_object_begins(root, cfg):
    folder = root / "youtube_vos/2019/valid"
    one, both = np.where(scene(0) == 1, 1, 0), np.where(scene(0) == 3, 0, scene(0))
    write_clip(folder, "v", [one, one, both, both], frames=5)
    write_meta(folder, {"v": {"1": ("dog", ["00000"]), "2": ("yak", ["00002"])}})
    track = Repeating()
    scores = run(cfg, "youtube_vos_2019_valid", track)["clips"]
    assert track.seen == [[0, 1], None, [0, 2], None, None]
    assert (scores["J&F"], scores["J-v_2"]) == (100.0, 100.0)


def test_no_frame_is_read_before_its_turn(root, cfg):
    folder = write_davis(root, {"still": [scene(0)] * 3})
    (record,) = next(iter(build_test_loader(cfg, "davis_2017_val")))
    (answer,) = ClipTracking(Repeating())([record])
    (folder / "JPEGImages/480p/still/00002.jpg").unlink()
    maps = iter(answer["label_maps"])
    assert next(maps).max() == 3
    next(maps)
    with pytest.raises(ValueError, match=r"00002.jpg: no such file"):
        next(maps)


def test_a_system_that_follows_nothing_is_refused_before_it_runs(root, cfg):
    write_davis(root, {"still": [scene(0)]})
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), ("davis_2017_val",)
    with pytest.raises(ValueError, match="davis_2017_val has clips, through which SAM follows no"):
        evaluated_model(cfg, tiny_sam())


def test_a_system_that_follows_examples_is_judged_on_clips(root):
    """Random weights say anything; every object is there from its first frame on."""
    write_davis(root, {"moving": [scene(frame) for frame in range(4)]})
    cfg = tiny_seggpt_config(["DATALOADER.NUM_WORKERS", 0, "OUTPUT_DIR", str(root / "out")])
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), ("davis_2017_val",)
    (evaluator,) = build_evaluators(cfg, "davis_2017_val")
    model = evaluated_model(cfg, tiny_seggpt(1))
    loader = build_test_loader(cfg, "davis_2017_val")
    scores = inference_on_dataset(model, loader, evaluator)["clips"]
    assert {"J&F", "J-moving_1", "J-moving_2", "J-moving_3"} <= set(scores)
    with Image.open(root / "out/inference/davis_2017_val/moving/00000.png") as first:
        np.testing.assert_array_equal(np.asarray(first), scene(0))


def test_other_inputs_go_to_the_other_model():
    tracking = ClipTracking(Repeating(), lambda inputs: [{"mine": x["image"]} for x in inputs])
    assert tracking([{"image": 3}]) == [{"mine": 3}]
    with pytest.raises(ValueError, match=r"a.jpg is no clip"):
        ClipTracking(Repeating())([{"file_name": "a.jpg"}])
    assert ClipTracking(Repeating()).eval().track.training is False


def test_a_job_looks_at_clips_before_it_starts(root, cfg):
    folder = write_davis(root, {"still": [scene(0)] * 3})
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (), ("davis_2017_val",)
    assert (wanted_tasks(cfg, "davis_2017_val"), truth_task(cfg, "davis_2017_val")) == ([], "")
    problems = Problems()
    (summary,) = check_all(cfg, problems, is_training=False)
    assert (problems.errors, summary.objects, len(summary.photos)) == ([], 3, 3)
    (folder / "JPEGImages/480p/still/00002.jpg").write_text("none")
    check_all(cfg, problems, is_training=False)
    assert "still/00002.jpg is no picture" in problems.errors[0]


def test_masks_of_another_size_than_their_frame_are_refused():
    with pytest.raises(ValueError, match=r"the frame is \(4, 5\), its masks are \(5, 4\)"):
        ClipFrame(np.zeros((4, 5, 3), np.uint8), torch.zeros(5, 4, dtype=torch.int64))
