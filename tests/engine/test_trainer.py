from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from detectron2.engine import AMPTrainer, SimpleTrainer
from freeseg.engine import Trainer
from freeseg.engine.job import evaluate
from freeseg.engine.trainer import _step_runner, seed_generators

sys.path.insert(0, str(Path(__file__).parents[1]))
from guest_config import without_defaults

TIMES = {"time", "data_time", "rank_data_time", "eta_seconds"}


def train(cfg, resume=False, trainer_class=Trainer):
    trainer = trainer_class(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def metrics(folder):
    lines = (folder / "metrics.json").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@pytest.mark.parametrize("seed", [7, -1], ids=["given seed", "drawn seed"])
@pytest.mark.parametrize("period", [1, 5], ids=["each iteration", "smoothed"])
def test_resumed_run_repeats_metrics_and_weights_exactly(tiny_config, tmp_path, period, seed):
    cfg = tiny_config(
        *("SOLVER.MAX_ITER", 14, "SOLVER.CHECKPOINT_PERIOD", 6, "TEST.EVAL_PERIOD", 4),
        *("SEED", seed, "SOLVER.LOG_PERIOD", period),
    )
    train(cfg)
    expected, final = metrics(tmp_path), weights(tmp_path / "model_final.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000005.pth")

    resumed = train(cfg, resume=True)

    assert resumed.start_iter == 6
    assert metrics(tmp_path) == expected
    assert {line["iteration"] for line in expected} >= {3, 4, 13, 14}
    assert_equal_weights(weights(tmp_path / "model_final.pth"), final)


def test_resume_without_checkpoint_starts_over(tiny_config, tmp_path):
    cfg = tiny_config("SOLVER.MAX_ITER", 3, "SOLVER.CHECKPOINT_PERIOD", 100, "DATASETS.TEST", "()")
    train(cfg)
    expected = metrics(tmp_path)
    (tmp_path / "last_checkpoint").unlink()
    assert train(cfg, resume=True).start_iter == 0
    assert metrics(tmp_path) == expected


def test_resuming_a_finished_run_changes_nothing(tiny_config, tmp_path):
    cfg = tiny_config("SOLVER.MAX_ITER", 3)
    train(cfg)
    expected, final = metrics(tmp_path), weights(tmp_path / "model_final.pth")
    train(cfg, resume=True)
    assert metrics(tmp_path) == expected
    assert_equal_weights(weights(tmp_path / "model_final.pth"), final)


def test_resumed_run_keeps_its_seed(tiny_config, caplog):
    options = ("SOLVER.MAX_ITER", 2, "DATASETS.TEST", "()")
    train(tiny_config(*options, "SEED", 3))
    trainer = Trainer(tiny_config(*options, "SEED", 4))
    with caplog.at_level(logging.WARNING, logger="freeseg"):
        trainer.resume_or_load(resume=True)
    assert trainer.seed == trainer.cfg.SEED == 3
    assert "SEED 4 is ignored" in caplog.text


def test_drawn_seeds_differ(tiny_config):
    cfg = tiny_config("SEED", -1, "DATASETS.TEST", "()")
    assert Trainer(cfg).seed != Trainer(cfg).seed


def test_loading_weights_alone_starts_at_zero(tiny_config, tmp_path):
    options = ("SOLVER.MAX_ITER", 2, "DATASETS.TEST", "()")
    train(tiny_config(*options))
    trainer = Trainer(tiny_config(*options, "MODEL.WEIGHTS", tmp_path / "model_final.pth"))
    trainer.resume_or_load(resume=False)
    assert trainer.start_iter == 0
    assert_equal_weights(trainer.model.state_dict(), weights(tmp_path / "model_final.pth"))


def test_keys_that_another_project_has_dropped_have_their_defaults(tiny_config, tmp_path):
    cfg = tiny_config("SOLVER.MAX_ITER", 2)
    train(cfg)
    expected = metrics(tmp_path)
    assert any("sem_seg/mIoU" in line for line in expected)
    (tmp_path / "metrics.json").unlink()
    bare = without_defaults(cfg)
    train(bare)
    assert metrics(tmp_path) == expected
    assert "MIN_AREA" not in str(bare)
    bare.MODEL.WEIGHTS = str(tmp_path / "model_final.pth")
    assert evaluate(bare, resume=False)["sem_seg"]["mIoU"] == expected[-1]["sem_seg/mIoU"]


def test_seeding_fixes_every_generator():
    import random

    import numpy as np

    def draw(*key):
        seed_generators(*key)
        return torch.rand(1).item(), np.random.rand(), random.random()

    assert draw(1, 2, 0) == draw(1, 2, 0)
    draws = [draw(1, 2, 0), draw(1, 2, 1), draw(1, 3, 0), draw(2, 2, 0)]
    assert all(len(set(column)) == 4 for column in zip(*draws))


def test_infinite_loss_stops_the_run_before_it_is_saved(tiny_config, tmp_path, tiny, monkeypatch):
    cfg = tiny_config("SOLVER.MAX_ITER", 5, "SOLVER.CHECKPOINT_PERIOD", 1, "DATASETS.TEST", "()")
    trainer = Trainer(cfg)
    healthy = tiny.TinySegmenter.forward

    def forward(model, inputs):
        losses = healthy(model, inputs)
        return (
            {**losses, "loss_size": math.inf * losses["loss_size"]} if trainer.iter == 2 else losses
        )

    monkeypatch.setattr(tiny.TinySegmenter, "forward", forward)
    with pytest.raises(FloatingPointError, match="iteration 2"):
        trainer.train()
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"


def test_mixed_precision_without_cuda_trains_in_float32(tiny_config, caplog):
    cfg = tiny_config("SOLVER.MAX_ITER", 1, "SOLVER.AMP.ENABLED", "True", "DATASETS.TEST", "()")
    with caplog.at_level(logging.INFO, logger="freeseg"):
        trainer = train(cfg)
    assert caplog.text.count("SOLVER.AMP.ENABLED needs CUDA: training in float32 on cpu") == 1
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}


def test_mixed_precision_is_chosen_by_the_device(tiny_config):
    cfg = tiny_config("SOLVER.AMP.ENABLED", "True").clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cuda:0"
    assert _step_runner(cfg) is AMPTrainer
    cfg.SOLVER.AMP.ENABLED = False
    assert _step_runner(cfg) is SimpleTrainer


class ScriptedTrainer(Trainer):
    """Scores evaluations by a list instead of a dataset."""

    scores: tuple[float, ...]

    @classmethod
    def test(cls, cfg, model, evaluators=None):
        cls.scores, score = cls.scores[1:], cls.scores[0]
        return {"sem_seg": {"mIoU": score}}


@pytest.mark.parametrize("stops", [False, True], ids=["one run", "resumed"])
def test_best_model_is_kept(tiny_config, tmp_path, stops):
    cfg = tiny_config("SOLVER.MAX_ITER", 5, "SOLVER.CHECKPOINT_PERIOD", 1, "TEST.EVAL_PERIOD", 1)
    ScriptedTrainer.scores = (1.0, 9.0, 2.0, 8.0, 3.0)
    train(cfg, trainer_class=ScriptedTrainer)
    best = weights(tmp_path / "model_best.pth")
    assert_equal_weights(best, weights(tmp_path / "model_0000001.pth"))
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
    if stops:  # the lower scores after the resume must not replace it
        (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
        ScriptedTrainer.scores = (2.0, 8.0, 3.0)
        train(cfg, resume=True, trainer_class=ScriptedTrainer)
        assert_equal_weights(weights(tmp_path / "model_best.pth"), best)


def test_no_best_model_where_none_is_asked_for(tiny_config, tmp_path):
    train(tiny_config("SOLVER.MAX_ITER", 2, "TEST.BEST_METRIC", ""))
    assert not (tmp_path / "model_best.pth").exists()


@pytest.mark.parametrize("metric", ["panoptic_seg/PQ", "sem_seg/miou"])
def test_a_metric_that_no_evaluation_gives_is_refused_before_the_first_step(tiny_config, metric):
    with pytest.raises(ValueError, match=f"TEST.BEST_METRIC is {metric}: .* sem_seg/mIoU"):
        Trainer(tiny_config("TEST.BEST_METRIC", metric))


class OwnScores(ScriptedTrainer):
    """Evaluates by a measure of its own."""

    @classmethod
    def test(cls, cfg, model, evaluators=None):
        return {"mine": {"score": super().test(cfg, model)["sem_seg"]["mIoU"]}}


def test_a_trainer_with_its_own_evaluation_may_name_any_metric(tiny_config, tmp_path):
    OwnScores.scores = (3.0, 2.0)
    cfg = tiny_config(
        *("SOLVER.MAX_ITER", 2, "TEST.EVAL_PERIOD", 1, "TEST.BEST_METRIC", "mine/score"),
    )
    train(cfg, trainer_class=OwnScores)
    best = {"metric": "mine/score", "value": 3.0, "iteration": 0}
    assert json.loads((tmp_path / "model_best.json").read_text()) == best


def test_a_finished_run_that_goes_on_knows_its_best_model(tiny_config, tmp_path):
    def go(steps, *scores, resume=True):
        ScriptedTrainer.scores = scores
        cfg = tiny_config("SOLVER.MAX_ITER", steps, "TEST.EVAL_PERIOD", 2)
        train(cfg, resume=resume, trainer_class=ScriptedTrainer)
        return json.loads((tmp_path / "model_best.json").read_text())

    best = {"metric": "sem_seg/mIoU", "value": 9.0, "iteration": 3}
    assert go(3, 1.0, 9.0, resume=False) == best  # the last in no checkpoint
    kept = weights(tmp_path / "model_best.pth")
    assert go(6, 8.0, 2.0) == best
    assert_equal_weights(weights(tmp_path / "model_best.pth"), kept)
    assert go(8, 9.5) == {**best, "value": 9.5, "iteration": 8}
    assert go(2, 0.5, resume=False) == {**best, "value": 0.5, "iteration": 2}  # another run


def test_the_best_by_another_metric_begins_anew(tiny_config, tmp_path, caplog):
    options = ("TEST.EVAL_PERIOD", 1, "SOLVER.CHECKPOINT_PERIOD", 1)
    train(tiny_config("SOLVER.MAX_ITER", 2, *options, "TEST.BEST_METRIC", "sem_seg/pACC"))
    with caplog.at_level(logging.WARNING, logger="freeseg"):
        train(tiny_config("SOLVER.MAX_ITER", 3, *options), resume=True)
    assert "the best model is now that of sem_seg/mIoU, was that of sem_seg/pACC" in caplog.messages
    record = json.loads((tmp_path / "model_best.json").read_text())
    results = json.loads((tmp_path / "results.json").read_text())
    assert record["metric"] == "sem_seg/mIoU"
    assert record["iteration"] == 3
    assert record["value"] == pytest.approx(results["tiny_val"]["sem_seg"]["mIoU"])


def test_best_metric_of_several_sets_is_that_of_the_first(tiny_config, tmp_path):
    options = ("SOLVER.MAX_ITER", 1, "DATASETS.TEST", "('tiny_val', 'tiny_train')")
    train(tiny_config(*options))
    assert (tmp_path / "model_best.pth").exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["tiny_val", "tiny_train", "weights"]


def test_results_are_reported_once_trained(tiny_config, tmp_path):
    trainer = train(tiny_config("SOLVER.MAX_ITER", 2))
    score = trainer._last_eval_results["sem_seg"]["mIoU"]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["tiny_val"]["sem_seg"]["mIoU"] == pytest.approx(score)
    table = (tmp_path / "results.md").read_text()
    assert "mIoU" in table
    assert f"{score:.2f}" in table


def test_pictures_show_truth_beside_prediction(tiny_config, tmp_path):
    options = ("SOLVER.MAX_ITER", 4, "TEST.VIS_PERIOD", 3, "TEST.VIS_IMAGES", 2)
    train(tiny_config(*options))
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == [f"iter_000000{i}_{name}.png" for i in (2, 3) for name in (8, 9)]
    picture = Image.open(tmp_path / "pictures" / "iter_0000003_8.png")
    assert picture.size == (64, 32)


def test_pictures_change_no_loss(tiny_config, tmp_path):
    train(tiny_config("SOLVER.MAX_ITER", 4, "DATASETS.TEST", "('tiny_val',)"))
    plain = metrics(tmp_path)
    (tmp_path / "metrics.json").unlink()
    train(tiny_config("SOLVER.MAX_ITER", 4, "TEST.VIS_PERIOD", 1, "TEST.VIS_IMAGES", 1))
    assert metrics(tmp_path) == plain


def test_batch_and_schedule_scale_with_the_reference_world_size(tiny_config):
    cfg = tiny_config("SOLVER.REFERENCE_WORLD_SIZE", 2, "SOLVER.MAX_ITER", 10)
    trainer = Trainer(cfg)
    assert trainer.max_iter == 20
    assert trainer.cfg.SOLVER.IMS_PER_BATCH == 2
    assert pytest.approx(0.005) == trainer.cfg.SOLVER.BASE_LR


def test_precise_batch_norm_repeats_on_resume(tiny_config, tmp_path):
    cfg = tiny_config(
        *("SOLVER.MAX_ITER", 6, "SOLVER.CHECKPOINT_PERIOD", 3, "TEST.EVAL_PERIOD", 2),
        *("TEST.PRECISE_BN.ENABLED", "True", "TEST.PRECISE_BN.NUM_ITER", 2),
    )
    train(cfg)
    expected, final = metrics(tmp_path), weights(tmp_path / "model_final.pth")
    (tmp_path / "last_checkpoint").write_text("model_0000002.pth")
    train(cfg, resume=True)
    assert metrics(tmp_path) == expected
    assert_equal_weights(weights(tmp_path / "model_final.pth"), final)
