"""Arguments, set-up, DefaultTrainer and DefaultPredictor."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import torch
from torch import nn

from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import (
    DefaultPredictor,
    DefaultTrainer,
    create_ddp_model,
    default_argument_parser,
    default_setup,
    default_writers,
    hooks,
)
from detectron2.engine.train_loop import SimpleTrainer
from detectron2.evaluation import DatasetEvaluator
from detectron2.modeling import META_ARCH_REGISTRY


@META_ARCH_REGISTRY.register()
class EngineTestModel(nn.Module):
    """In training the loss is |w - 5|; otherwise it gives its input back."""

    def __init__(self, cfg):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        if self.training:
            return {"loss": (self.w - 5 - inputs).abs() + 0 * torch.rand(())}
        return [{"w": self.w.item(), "input": i} for i in inputs]


class Trainer(DefaultTrainer):
    @classmethod
    def build_train_loader(cls, cfg):
        return [0.0] * 1000

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        return [[dataset_name]]

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        return Evaluator()


class Evaluator(DatasetEvaluator):
    def reset(self):
        self.seen = []

    def process(self, inputs, outputs):
        self.seen += outputs

    def evaluate(self):
        return {"task": {"w": self.seen[0]["w"]}}


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "EngineTestModel"
    cfg.MODEL.WEIGHTS = ""
    cfg.DATASETS.TEST = ("engine_test",)
    cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM = 6, 0.5, 0.0
    cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.WARMUP_ITERS, cfg.SOLVER.STEPS = 0.0, 0, (4,)
    cfg.SOLVER.CHECKPOINT_PERIOD = 2
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    return cfg


def test_training_evaluates_saves_and_writes(cfg, tmp_path):
    trainer = Trainer(cfg)
    trainer.resume_or_load()
    trainer.train()
    # Four steps of 0.5 and two of 0.05.
    assert trainer.model.w.item() == pytest.approx(2.1)
    names = sorted(p.name for p in (tmp_path / "out").glob("*.pth"))
    assert names == [
        "model_0000001.pth",
        "model_0000003.pth",
        "model_0000005.pth",
        "model_final.pth",
    ]
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.json").open()]
    assert lines[-1]["task/w"] == pytest.approx(2.1)


def test_resumed_training_goes_on_exactly(cfg):
    whole = Trainer(cfg)
    whole.train()
    killed = Trainer(cfg)
    killed.checkpointer.load(cfg.OUTPUT_DIR + "/model_0000003.pth")
    killed.checkpointer.tag_last_checkpoint("model_0000003.pth")

    resumed = Trainer(cfg)
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == 4
    assert resumed.scheduler.last_epoch == 4
    resumed.train()
    assert resumed.model.w.item() == whole.model.w.item()
    assert resumed.storage.latest()["total_loss"] == whole.storage.latest()["total_loss"]


def test_without_resume_only_weights_are_loaded(cfg):
    first = Trainer(cfg)
    first.train()
    cfg.MODEL.WEIGHTS = cfg.OUTPUT_DIR + "/model_final.pth"
    fresh = Trainer(cfg)
    fresh.resume_or_load(resume=False)
    assert fresh.start_iter == 0
    assert fresh.model.w.item() == first.model.w.item()
    assert fresh.optimizer.param_groups[0]["lr"] == 0.5


def test_parts_of_the_inner_trainer(cfg):
    trainer = Trainer(cfg)
    assert isinstance(trainer._trainer, SimpleTrainer)
    for name in ("model", "data_loader", "optimizer"):
        assert getattr(trainer, name) is getattr(trainer._trainer, name)
        replacement = object()
        setattr(trainer, name, replacement)
        assert getattr(trainer._trainer, name) is replacement


def test_default_hooks_in_order(cfg):
    built = [hook for hook in Trainer(cfg).build_hooks() if hook is not None]
    assert [type(hook) for hook in built] == [
        hooks.IterationTimer,
        hooks.LRScheduler,
        hooks.PeriodicCheckpointer,
        hooks.EvalHook,
        hooks.PeriodicWriter,
    ]


def test_results_are_checked_against_expected_ones(cfg):
    cfg.TEST.EXPECTED_RESULTS = [["task", "w", 2.1, 0.01]]
    assert Trainer(cfg).train() == {"task": {"w": pytest.approx(2.1)}}
    cfg.TEST.EXPECTED_RESULTS = [["task", "w", 9.0, 0.01]]
    with pytest.raises(SystemExit):
        Trainer(cfg).train()


def test_evaluation_of_several_datasets(cfg):
    cfg.DATASETS.TEST = ("one", "two")
    model = EngineTestModel(cfg)
    results = Trainer.test(cfg, model)
    assert list(results) == ["one", "two"]
    evaluators = [Evaluator(), Evaluator()]
    Trainer.test(cfg, model, evaluators)
    assert [e.seen[0]["input"] for e in evaluators] == ["one", "two"]
    with pytest.raises(AssertionError):
        Trainer.test(cfg, model, Evaluator())


def test_datasets_without_evaluator_have_no_results(cfg):
    class Silent(Trainer):
        build_evaluator = DefaultTrainer.build_evaluator

    assert Silent.test(cfg, EngineTestModel(cfg)) == {}
    with pytest.raises(NotImplementedError):
        DefaultTrainer.build_evaluator(cfg, "x")


def test_config_is_scaled_to_the_number_of_workers(cfg):
    solver = cfg.SOLVER
    solver.REFERENCE_WORLD_SIZE, solver.IMS_PER_BATCH, solver.BASE_LR = 8, 16, 0.1
    solver.MAX_ITER, solver.STEPS, solver.CHECKPOINT_PERIOD = 5000, (4000,), 1000
    solver.WARMUP_ITERS, cfg.TEST.EVAL_PERIOD = 100, 500
    cfg.freeze()
    scaled = DefaultTrainer.auto_scale_workers(cfg, 16)
    assert scaled.is_frozen()
    new = scaled.SOLVER
    assert (new.IMS_PER_BATCH, new.BASE_LR, new.REFERENCE_WORLD_SIZE) == (32, 0.2, 16)
    assert (new.MAX_ITER, new.STEPS, new.CHECKPOINT_PERIOD) == (2500, (2000,), 500)
    assert (new.WARMUP_ITERS, scaled.TEST.EVAL_PERIOD) == (50, 250)
    assert solver.MAX_ITER == 5000
    assert DefaultTrainer.auto_scale_workers(cfg, 8) is cfg


def test_predictor_resizes_and_orders_channels(cfg):
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 20, 100
    predictor = DefaultPredictor(cfg)
    blue = np.zeros((10, 30, 3), dtype=np.uint8)
    blue[..., 0] = 255  # BGR
    seen = predictor(blue)["input"]
    assert (seen["height"], seen["width"]) == (10, 30)
    assert seen["image"].shape == (3, 20, 60)
    assert seen["image"].dtype == torch.float32
    assert seen["image"][:, 0, 0].tolist() == [0, 0, 255]
    assert predictor.metadata is MetadataCatalog.get("engine_test")
    assert not predictor.model.training


def test_predictor_loads_weights(cfg, tmp_path):
    torch.save({"model": {"w": torch.tensor(7.0)}}, tmp_path / "w.pth")
    cfg.MODEL.WEIGHTS = str(tmp_path / "w.pth")
    cfg.DATASETS.TEST = ()
    assert DefaultPredictor(cfg)(np.zeros((4, 4, 3), dtype=np.uint8))["w"] == 7.0


def test_arguments():
    parser = default_argument_parser()
    args = parser.parse_args([])
    assert vars(args).keys() == {
        "config_file",
        "resume",
        "eval_only",
        "num_gpus",
        "num_machines",
        "machine_rank",
        "dist_url",
        "opts",
    }
    assert (args.config_file, args.num_gpus, args.num_machines, args.opts) == ("", 1, 1, [])
    assert args.dist_url.startswith("tcp://127.0.0.1:")
    args = parser.parse_args(["--config-file", "a.yaml", "--resume", "SOLVER.BASE_LR", "0.1"])
    assert args.resume
    assert args.opts == ["SOLVER.BASE_LR", "0.1"]


def test_setup_saves_the_config_and_seeds(cfg, tmp_path):
    cfg.SEED = 5
    args = argparse.Namespace(config_file="", eval_only=False)
    drawn = []
    for _ in range(2):
        default_setup(cfg, args)
        drawn.append((torch.rand(1).item(), np.random.rand()))
    assert drawn[0] == drawn[1]
    again = get_cfg()
    again.merge_from_file(str(tmp_path / "out" / "config.yaml"))
    assert again.SEED == 5
    assert again.MODEL.META_ARCHITECTURE == "EngineTestModel"
    assert "Command line arguments" in (tmp_path / "out" / "log.txt").read_text()


def test_setup_of_a_lazy_config(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    options = {"output_dir": str(tmp_path), "seed": 3, "cudnn_benchmark": False}
    default_setup(omegaconf.OmegaConf.create({"train": options}), {})
    assert "seed: 3" in (tmp_path / "config.yaml").read_text()


def test_writers(tmp_path):
    names = [type(writer).__name__ for writer in default_writers(str(tmp_path / "new"), 10)]
    assert names == ["CommonMetricPrinter", "JSONWriter", "TensorboardXWriter"]
    assert (tmp_path / "new" / "metrics.json").exists()


def test_one_process_needs_no_wrapper():
    model = nn.Linear(1, 1)
    assert create_ddp_model(model) is model


def test_loaders_come_from_the_registered_dataset(cfg):
    name = "engine_test_two_pictures"
    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, lambda: [{"file_name": "a"}, {"file_name": "b"}])
    cfg.DATASETS.TEST = (name,)
    cfg.DATALOADER.NUM_WORKERS = 0
    assert len(DefaultTrainer.build_test_loader(cfg, name).dataset) == 2
