"""Parts of a trainer, each against what its configuration says."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from detectron2.engine import hooks
from detectron2.utils.events import EventStorage
from freeseg.data.photos import PhotoReader
from freeseg.engine import Trainer, sharding
from freeseg.engine import trainer as trainer_module
from freeseg.engine.hooks import BestCheckpointer, MetricHistory, MetricsWriter, PreciseBatchNorm
from freeseg.engine.pictures import PredictionPictures
from freeseg.structures import CLASSES_KEY

NO_TEST = ("DATASETS.TEST", ())


@pytest.mark.parametrize(("parts", "start"), [(1, 0), (2, 0), (4, 1)])
def test_every_part_of_every_step_has_a_seed_of_its_own(
    tiny_config, monkeypatch, one_thread, parts, start
):
    options = ("SOLVER.ACCUMULATION_STEPS", parts, "SEED", 9, *NO_TEST)
    Trainer(tiny_config(*options, "SOLVER.MAX_ITER", max(start, 1))).train() if start else None
    asked, plain = [], trainer_module.seed_generators
    monkeypatch.setattr(
        trainer_module, "seed_generators", lambda *key: (asked.append(key), plain(*key))
    )
    monkeypatch.setattr(trainer_module.comm, "get_rank", lambda: 5)
    trainer = Trainer(tiny_config(*options, "SOLVER.MAX_ITER", 3))
    trainer.resume_or_load(resume=bool(start))
    trainer.train()
    expected = [(9,)]
    for iteration in range(start, 3):
        for part in range(parts):
            expected.append((9, iteration, 5, part) if part else (9, iteration, 5))
    assert asked == expected


def test_an_evaluation_is_not_seeded(tiny_config, monkeypatch):
    trainer = Trainer(tiny_config(*NO_TEST))
    monkeypatch.setattr(trainer_module, "seed_generators", lambda *key: pytest.fail("seeded"))
    image = {"image": torch.zeros(3, 8, 8, dtype=torch.uint8), "height": 8, "width": 8}
    trainer.model.eval()([image])


@pytest.mark.parametrize("is_main", [True, False])
def test_hooks_in_their_order(tiny_config, monkeypatch, is_main):
    options = ("TEST.VIS_PERIOD", 3, "TEST.PRECISE_BN.ENABLED", True, "TEST.EVAL_PERIOD", 4)
    trainer = Trainer(tiny_config(*options, "SOLVER.CHECKPOINT_PERIOD", 7))
    monkeypatch.setattr(trainer_module.comm, "is_main_process", lambda: is_main)
    found = trainer.build_hooks()
    kinds = [hooks.IterationTimer, hooks.LRScheduler, PreciseBatchNorm, hooks.EvalHook]
    kinds += [BestCheckpointer, *([PredictionPictures, MetricsWriter, MetricHistory] * is_main)]
    assert [type(hook) for hook in found] == [*kinds, hooks.PeriodicCheckpointer]
    assert (found[2]._period, found[3]._period, found[4]._period) == (4, 4, 4)
    assert found[-1].period == 7


def test_hooks_that_nobody_asked_for_are_none(tiny_config, monkeypatch):
    assert Trainer(tiny_config())._pictures() is None
    assert Trainer(tiny_config(*NO_TEST, "TEST.VIS_PERIOD", 1))._pictures() is None
    assert Trainer(tiny_config())._precise_batch_norm() is None
    assert Trainer(tiny_config("TEST.BEST_METRIC", ""))._best_checkpointer() is None
    monkeypatch.setenv("TINY_PLAIN", "1")  # without batch norms
    assert Trainer(tiny_config("TEST.PRECISE_BN.ENABLED", True))._precise_batch_norm() is None


def test_pictures_are_of_the_first_test_set_as_the_keys_say(tiny_config, tmp_path):
    sets = ("DATASETS.TEST", ("tiny_train", "tiny_val"), "INPUT.WHITE_LEVEL", 4095)
    options = (*sets, "TEST.VIS_PERIOD", 1, "TEST.VIS_IMAGES", 3, "DATALOADER.NUM_WORKERS", 2)
    trainer = Trainer(tiny_config(*options))
    hook = trainer._pictures()
    assert (hook._period, hook._num_images, hook._folder) == (1, 3, tmp_path / "pictures")
    assert hook._reader == PhotoReader.from_config(trainer.cfg) != PhotoReader()
    loader = hook._build_loader()
    assert loader.num_workers == 0
    names = [one["image_id"] for batch in loader for one in batch]
    assert names == list(range(8))
    assert len(hook._read_truth().records) == 8


def test_precise_batch_norms_read_without_workers(tiny_config):
    norms = ("TEST.PRECISE_BN.ENABLED", True, "TEST.PRECISE_BN.NUM_ITER", 11)
    trainer = Trainer(
        tiny_config(*norms, "TEST.EVAL_PERIOD", 6, "DATALOADER.NUM_WORKERS", 2, *NO_TEST)
    )
    hook = trainer._precise_batch_norm()
    assert (hook._period, hook._num_iter, hook._model) == (6, 11, trainer.model)
    assert trainer.cfg.DATALOADER.NUM_WORKERS == 2


class OwnEvaluators(Trainer):
    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        return super().build_evaluator(cfg, dataset_name)


@pytest.mark.parametrize(("kind", "has_own"), [(Trainer, False), (OwnEvaluators, True)])
def test_an_evaluation_of_ones_own_is_known(tiny_config, kind, has_own):
    assert kind(tiny_config())._has_own_evaluation() is has_own


def test_the_best_model_has_the_classes_and_is_not_resumed(tiny_config, tmp_path):
    hook = Trainer(tiny_config("TEST.EVAL_PERIOD", 5))._best_checkpointer()
    hook._checkpointer.save("model_best")
    content = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert [row["name"] for row in content[CLASSES_KEY]] == ["left", "right", "disc"]
    assert not (tmp_path / "last_checkpoint").exists()
    assert (hook._period, hook._val_metric) == (5, "sem_seg/mIoU")


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("has_model", [True, False])
def test_checkpoints_that_nobody_names_are_told(tiny_config, tmp_path, caplog, resume, has_model):
    trainer = Trainer(tiny_config(*NO_TEST))
    if has_model:
        (tmp_path / "model_0000003.pth").touch()
    with caplog.at_level(logging.WARNING, "freeseg"):
        trainer._check_start(resume)
    told = [
        line for line in caplog.messages if "has checkpoints and no file last_checkpoint" in line
    ]
    assert len(told) == (resume and has_model)


def test_what_is_written_with_the_first_step_is_what_was_given(tiny_config, tmp_path, one_thread):
    options = ("SEED", -1, "SOLVER.MAX_ITER", 1, "SOLVER.REFERENCE_WORLD_SIZE", 2, *NO_TEST)
    Trainer(tiny_config(*options)).train()
    stored = (tmp_path / "config.yaml").read_text()
    assert "\nSEED: -1\n" in stored
    assert "\n  MAX_ITER: 1\n" in stored
    assert any("disc" in path.read_text() for path in tmp_path.glob("*.json"))


@pytest.mark.parametrize("is_main", [True, False])
def test_other_processes_write_nothing(tiny_config, tmp_path, monkeypatch, one_thread, is_main):
    trainer = Trainer(tiny_config("SOLVER.MAX_ITER", 1, *NO_TEST))
    trainer.checkpointer.save_to_disk = is_main
    monkeypatch.setattr(trainer_module.comm, "is_main_process", lambda: is_main)
    before = {path.name for path in tmp_path.iterdir()}
    trainer.train()
    assert ("config.yaml" in {path.name for path in tmp_path.iterdir()} - before) is is_main


def test_a_checkpoint_tells_where_it_is(tiny_config, one_thread):
    trainer = Trainer(tiny_config("SOLVER.MAX_ITER", 4, "SOLVER.IMS_PER_BATCH", 3, *NO_TEST))
    trainer._start_position, trainer.start_iter, trainer.iter = 50, 10, 14
    state = trainer.state_dict()
    assert state["position"] == 50 + 5 * 3
    assert state["seed"] == trainer.seed == 7
    assert state["parameter_names"] == trainer._parameter_names
    assert state["settings"]["SOLVER.IMS_PER_BATCH"] == 3
    other = Trainer(tiny_config("SOLVER.MAX_ITER", 20, "SOLVER.IMS_PER_BATCH", 3, *NO_TEST))
    for key, position in (("position", 15 * 3), ("settings", 65)):
        other.load_state_dict({name: value for name, value in state.items() if name != key})
        assert other._start_position == position
    old = {**state, "settings": {"SOLVER.IMS_PER_BATCH": 8}}
    del old["position"]
    other.load_state_dict(old)
    assert other._start_position == 15 * 8


@pytest.mark.parametrize(("iteration", "expected"), [(9, 4), (4, 4), (3, 3)])
def test_a_finished_training_ends_at_its_last_iteration(tiny_config, iteration, expected):
    trainer = Trainer(tiny_config("SOLVER.MAX_ITER", 4, *NO_TEST))
    trainer._hooks, trainer.storage = [], EventStorage(0)
    trainer.iter = iteration
    trainer.after_train()
    assert trainer.iter == expected


def test_a_loader_that_cannot_skip_is_told_when_it_should(tiny_config, caplog):
    trainer = Trainer(tiny_config(*NO_TEST))
    trainer._trainer.data_loader = []
    for trainer.start_iter in (0, 3):
        trainer._skip_seen_data()
    assert caplog.messages == ["the train loader has no loader_sampler: its data begin anew"]


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.ones(3))


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("is_divided", [True, False])
def test_processes_have_copies_or_shares(tiny_config, monkeypatch, size, is_divided):
    module = sys.modules[sharding.__name__]
    monkeypatch.setattr(module.comm, "get_world_size", lambda: size)
    monkeypatch.setattr(module, "shard", lambda model: ("shares", model))
    monkeypatch.setattr(module, "create_ddp_model", lambda model, **more: (model, more))
    model, options = Shared(), ("SOLVER.FSDP", is_divided)
    found = sharding.distribute(tiny_config(*options), model)
    has_shares = is_divided and size > 1
    assert found == (("shares", model) if has_shares else (model, {"device_ids": None}))
    with_pictures = tiny_config(*options, "TEST.VIS_PERIOD", 1)
    if has_shares:
        with pytest.raises(ValueError, match=r"TEST\.VIS_PERIOD is 1"):
            sharding.distribute(with_pictures, model)
    else:
        assert sharding.distribute(with_pictures, model)[0] is model


@pytest.mark.parametrize("size", [1, 2])
def test_buffers_are_the_main_process_s(monkeypatch, size):
    sent, model = [], Shared()
    monkeypatch.setattr(sharding.comm, "get_world_size", lambda: size)
    monkeypatch.setattr(sharding.dist, "broadcast", lambda one, source: sent.append((one, source)))
    sharding.share_buffers(model)
    assert [(one is model.mean, source) for one, source in sent] == (
        [(True, 0)] if size > 1 else []
    )


def test_whole_things_are_gathered_as_they_are():
    content = {"a": [torch.ones(1), (2, "x")], "b": {"c": None}, "path": Path("x")}
    found = sharding.gathered(content)
    assert found == content
    assert isinstance(found["a"][1], tuple)
    assert not sharding.is_sharded(Shared())


def test_blocks_are_members_of_lists_that_are_large_enough():
    inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU())  # 16 values
    backbone = nn.Module()
    backbone.stages = nn.ModuleList([inner, nn.Linear(3, 3), nn.Linear(2, 5)])  # 12, 15
    backbone.stem = nn.Linear(50, 50)
    assert sharding._blocks(backbone, 16) == [inner[0], inner]
    assert sharding._blocks(backbone, 15) == [inner[0], backbone.stages[2], inner]
    assert sharding._blocks(backbone, 17) == []


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_whole_gradients_are_bounded_together(norm_type):
    parameters = [
        nn.Parameter(torch.zeros(2)),
        nn.Parameter(torch.zeros(1)),
        nn.Parameter(torch.ones(1)),
    ]
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([-4.0])
    sharding.clip_gradients(parameters, 0.5, norm_type)
    size = {1.0: 7.0, 2.0: 5.0}[norm_type]
    assert parameters[0].grad.tolist() == pytest.approx([1.5 / size, 0.0])
    assert parameters[1].grad.tolist() == pytest.approx([-2.0 / size])
    assert parameters[2].grad is None
