"""The trainer behind tools/train_net.py: Detectron2's DefaultTrainer with exact resume."""

from __future__ import annotations

import functools
import inspect
import logging
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.nn.precise_bn import get_bn_modules
from torch import nn

from detectron2.config import CfgNode
from detectron2.engine import (
    AMPTrainer,
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    hooks,
)
from detectron2.evaluation import DatasetEvaluators, verify_results
from detectron2.utils import comm
from freeseg.classes import (
    check_same_classes,
    fill_num_classes,
    knows_classes,
    model_vocabulary,
    order_warning,
    write_class_list,
)
from freeseg.config import completed
from freeseg.data import build_test_loader, build_train_loader, register_custom
from freeseg.data.few_shot.loader import one_by_one
from freeseg.data.photos import PhotoReader
from freeseg.engine.accumulation import AccumulatingAMPTrainer, AccumulatingTrainer
from freeseg.engine.checkpointing import AtomicCheckpointer
from freeseg.engine.dataset_checks import check_datasets
from freeseg.engine.disk import is_stopping, one_line_if_full, stopping
from freeseg.engine.evaluated_model import evaluated_model
from freeseg.engine.guard import LossGuard
from freeseg.engine.hooks import (
    BestCheckpointer,
    MetricHistory,
    MetricsWriter,
    PreciseBatchNorm,
    forget_metrics_after,
)
from freeseg.engine.optimizer import build_lr_scheduler, build_optimizer
from freeseg.engine.pictures import PredictionPictures
from freeseg.engine.report import report_results, write_config
from freeseg.engine.resume import (
    optimizer_place,
    parameter_names,
    report_changes,
    scheduler_place,
    set_rates,
    settings_of,
)
from freeseg.engine.sharding import (
    distribute,
    is_sharded,
    share_buffers,
    takes_whole_states,
    whole,
)
from freeseg.evaluation import best_metric, build_evaluators, require_known_metric, truth_task
from freeseg.evaluation.clips import has_clips
from freeseg.evaluation.episodes import episode_settings
from freeseg.evaluation.truth import Truth
from freeseg.names import build_model
from freeseg.structures import class_rows

logger = logging.getLogger(__name__)


class Trainer(DefaultTrainer):
    """Trains and evaluates a configured model; a killed run resumes with identical losses.

    A resumed run has the settings of its configuration (`freeseg.engine.resume`). Data order and
    augmentation follow from (seed, position), all other randomness from (seed, iteration, rank). A
    checkpoint holds the model, optimizer, schedule, gradient scaler, metric history and seed. The
    repetition is exact where the device's operators are deterministic: on CPU always, given an
    equal number of threads.
    """

    iter: int

    def __init__(self, cfg: CfgNode) -> None:
        super(DefaultTrainer, self).__init__()  # what DefaultTrainer would build is built below
        self._given_cfg = cfg
        cfg = self.auto_scale_workers(completed(cfg), comm.get_world_size())
        self._is_seed_given = cfg.SEED >= 0
        self.seed = int(cfg.SEED) if self._is_seed_given else comm.shared_random_seed()
        self.cfg = _with_seed(cfg, self.seed)
        check_datasets(self.cfg)
        logger.info("Seed of this run: %d", self.seed)
        seed_generators(self.seed)
        model = self.build_model(self.cfg)
        known = model_vocabulary(model, self.cfg) if knows_classes(self.cfg) else ()
        self._class_rows = class_rows(known) if known else []  # as classes.json has them
        model = distribute(self.cfg, model)
        optimizer = self.build_optimizer(self.cfg, model)
        if is_sharded(model):
            takes_whole_states(optimizer)
        loader = self.build_train_loader(self.cfg)
        model.register_forward_pre_hook(self._seed_forward)
        self._guard = LossGuard(Path(self.cfg.OUTPUT_DIR))
        model.register_forward_hook(self._guard)
        self._part = (-1, 0)  # iteration, and parts of its batch that were forwarded
        self._trainer = _step_runner(self.cfg)(model, loader, optimizer)
        self.scheduler = self.build_lr_scheduler(self.cfg, optimizer)
        self.checkpointer = AtomicCheckpointer(
            model,
            self.cfg.OUTPUT_DIR,
            classes=self._class_rows or None,
            trainer=weakref.proxy(self),
        )
        self.start_iter = 0
        self.max_iter = self.cfg.SOLVER.MAX_ITER
        self._start_position = 0  # samples that were trained on before start_iter
        self._parameter_names = parameter_names(model, optimizer)
        self._last_eval_results: dict[str, Any] = {}
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        cfg = completed(cfg)
        if not cfg.MODEL.CLASSES:
            register_custom(cfg.DATASETS.CUSTOM)  # a model asks its training set for class names
        fill_num_classes(cfg)
        model = build_model(cfg)
        logger.info("Model:\n%s", model)
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        episodes = episode_settings(cfg)
        if episodes is not None and not has_clips(dataset_name):
            shown = episodes.of_dataset(cfg, dataset_name)
            return one_by_one(shown, cfg.DATALOADER.NUM_WORKERS)
        return build_test_loader(cfg, dataset_name, truth_task=truth_task(cfg, dataset_name))

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluators:
        return DatasetEvaluators(build_evaluators(cfg, dataset_name))

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> dict[str, Any]:
        """Evaluates on DATASETS.TEST what `evaluated_model` makes of the model."""
        return super().test(cfg, evaluated_model(cfg, model), evaluators)

    def build_hooks(self) -> list[HookBase | None]:
        """Detectron2's default hooks and this package's, checkpoints last.

        A checkpoint then includes what the evaluation of its iteration found, and a kill during
        an evaluation repeats it. The model of the last iteration is saved before its evaluation.
        """
        cfg = self.cfg
        on_every_process: list[HookBase | None] = [
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            self._precise_batch_norm(),
            hooks.EvalHook(cfg.TEST.EVAL_PERIOD, self._evaluate),
            self._best_checkpointer(),
        ]
        on_main_process: list[HookBase | None] = []
        if comm.is_main_process():
            writers = self.build_writers()
            on_main_process = [
                self._pictures(),
                MetricsWriter(writers, cfg.SOLVER.LOG_PERIOD, cfg.TEST.EVAL_PERIOD),
                MetricHistory(),
            ]
        checkpoints = hooks.PeriodicCheckpointer(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD)
        return [*on_every_process, *on_main_process, checkpoints]

    def resume_or_load(self, resume: bool = True) -> None:
        """Continues from the last checkpoint in OUTPUT_DIR, or loads MODEL.WEIGHTS alone.

        Metrics later than the checkpoint are removed from ``metrics.json``: they come again.
        """
        self._check_start(resume)
        super().resume_or_load(resume)
        if not resume:
            return
        if self.start_iter >= self.max_iter:
            logger.warning(
                "nothing is left to train: the checkpoint has %d iterations, SOLVER.MAX_ITER is %d",
                *(self.start_iter, self.max_iter),
            )
        if self.seed != self.cfg.SEED:  # the checkpoint's, drawn by the run that began it
            self.cfg = _with_seed(self.cfg, self.seed)
            self._trainer.reset_data_loader(functools.partial(self.build_train_loader, self.cfg))
        self._skip_seen_data()
        if comm.is_main_process():
            forget_metrics_after(Path(self.cfg.OUTPUT_DIR) / "metrics.json", self.start_iter - 1)

    def _check_start(self, resume: bool) -> None:
        """Says what is odd about where a training begins; refuses other classes than before."""
        if resume and self.checkpointer.has_checkpoint():
            check_same_classes(self._class_rows, self.checkpointer.get_checkpoint_file())
            return
        if resume and any(Path(self.cfg.OUTPUT_DIR).glob("*.pth")):
            logger.warning(
                "--resume: %s has checkpoints and no file last_checkpoint that names one: the "
                "training begins anew",
                self.cfg.OUTPUT_DIR,
            )
        line = order_warning(self._class_rows, self.cfg.MODEL.WEIGHTS)
        if line:
            logger.warning(line)

    def train(self) -> dict[str, Any]:
        """Trains to the last iteration; returns and reports the results of the last evaluation.

        Raises:
            WriteError: A file cannot be written; nothing else is tried.
        """
        with one_line_if_full(self.cfg.OUTPUT_DIR):
            super(DefaultTrainer, self).train(self.start_iter, self.max_iter)
            if comm.is_main_process() and self._last_eval_results:
                report_results(self.cfg, self._last_eval_results, weights="model_final.pth")
        if comm.is_main_process() and self._last_eval_results and self.cfg.TEST.EXPECTED_RESULTS:
            verify_results(self.cfg, self._last_eval_results)
        return self._last_eval_results

    def before_train(self) -> None:
        with stopping(self.cfg.OUTPUT_DIR):
            super().before_train()

    def after_step(self) -> None:
        with stopping(self.cfg.OUTPUT_DIR):
            if self.iter == self.start_iter and comm.is_main_process():
                # only now, as a step that fails must not break the model that the folder may hold
                write_config(self._given_cfg)
                if self._class_rows:
                    write_class_list(self._class_rows, Path(self.cfg.OUTPUT_DIR))
            super().after_step()

    def after_train(self) -> None:
        if is_stopping():
            return
        # one more when a finished run is resumed
        self.iter = min(self.iter, max(self.start_iter, self.max_iter))
        super().after_train()

    def state_dict(self) -> dict[str, Any]:
        num_new = (self.iter + 1 - self.start_iter) * self.cfg.SOLVER.IMS_PER_BATCH
        return {
            **super().state_dict(),
            "seed": self.seed,
            "settings": settings_of(self.cfg),
            "position": self._start_position + num_new,
            "parameter_names": self._parameter_names,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        settings = settings_of(self.cfg)
        then = state_dict.get("settings", {})  # Detectron2's own checkpoints have none
        report_changes(then, settings)
        super().load_state_dict(self._only_place(state_dict))
        set_rates(self.optimizer, self.scheduler, self.max_iter)
        batch_size = then.get("SOLVER.IMS_PER_BATCH", self.cfg.SOLVER.IMS_PER_BATCH)
        self._start_position = state_dict.get("position", (self.iter + 1) * batch_size)
        seed = state_dict.get("seed", self.seed)
        if self._is_seed_given and seed != self.seed:
            logger.warning("SEED %d is ignored: the resumed run uses seed %d", self.seed, seed)
        self.seed = seed

    def _only_place(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """A checkpoint's state with the settings of the configuration."""
        hooks_state, step_state = dict(state_dict.get("hooks", {})), dict(state_dict["_trainer"])
        if "LRScheduler" in hooks_state:
            hooks_state["LRScheduler"] = scheduler_place(hooks_state["LRScheduler"], self.scheduler)
        step_state["optimizer"] = optimizer_place(
            step_state["optimizer"],
            state_dict.get("parameter_names"),
            self.optimizer,
            self._parameter_names,
        )
        if isinstance(self._trainer, AMPTrainer):  # the run may have begun without a scaler
            step_state.setdefault("grad_scaler", self._trainer.grad_scaler.state_dict())
        return {**state_dict, "hooks": hooks_state, "_trainer": step_state}

    def _seed_forward(self, model: nn.Module, _inputs: Any) -> None:
        """Seeds after the batch is there: starting a data loader draws random numbers too."""
        if model.training:
            iteration, part = self._part
            part = (part + 1) % self.cfg.SOLVER.ACCUMULATION_STEPS if iteration == self.iter else 0
            self._part = self.iter, part
            self._guard.iteration = self.iter
            further = (part,) if part else ()
            seed_generators(self.seed, self.iter, comm.get_rank(), *further)

    def _skip_seen_data(self) -> None:
        sampler = getattr(self.data_loader, "loader_sampler", None)
        if sampler is not None:
            sampler.start = self._start_position
        elif self.start_iter:
            logger.warning("the train loader has no loader_sampler: its data begin anew")

    def _evaluate(self) -> dict[str, Any]:
        share_buffers(self.model)
        with whole(self.model):
            self._last_eval_results = self.test(self.cfg, self.model)
        return self._last_eval_results

    def _precise_batch_norm(self) -> HookBase | None:
        settings = self.cfg.TEST.PRECISE_BN
        if not settings.ENABLED or not get_bn_modules(self.model):
            return None
        loader = self.build_train_loader(_without_workers(self.cfg))
        return PreciseBatchNorm(self.cfg.TEST.EVAL_PERIOD, self.model, loader, settings.NUM_ITER)

    def _best_checkpointer(self) -> HookBase | None:
        metric = best_metric(self.cfg)
        if not metric:
            return None
        if not self._has_own_evaluation():
            require_known_metric(self.cfg)
        checkpointer = AtomicCheckpointer(
            self.model, self.cfg.OUTPUT_DIR, is_resumable=False, classes=self._class_rows or None
        )
        folder = Path(self.cfg.OUTPUT_DIR)
        return BestCheckpointer(self.cfg.TEST.EVAL_PERIOD, checkpointer, metric, folder)

    def _has_own_evaluation(self) -> bool:
        return any(
            inspect.getattr_static(type(self), name) is not inspect.getattr_static(Trainer, name)
            for name in ("build_evaluator", "test")
        )

    def _pictures(self) -> HookBase | None:
        test, names = self.cfg.TEST, self.cfg.DATASETS.TEST
        if test.VIS_PERIOD <= 0 or not names:
            return None
        return PredictionPictures(
            read_truth=functools.partial(Truth.of, self.cfg, names[0]),
            build_loader=functools.partial(
                self.build_test_loader, _without_workers(self.cfg), names[0]
            ),
            period=test.VIS_PERIOD,
            num_images=test.VIS_IMAGES,
            folder=Path(self.cfg.OUTPUT_DIR) / "pictures",
            reader=PhotoReader.from_config(self.cfg),
        )


def seed_generators(*key: int) -> None:
    """Seeds the global generators of torch, numpy and Python from non-negative integers."""
    words = [int(word) for word in np.random.SeedSequence(key).generate_state(3)]
    torch.manual_seed(words[0])
    np.random.seed(words[1])
    random.seed(words[2])


def _with_seed(cfg: CfgNode, seed: int) -> CfgNode:
    return _changed(cfg, ["SEED", seed])


def _without_workers(cfg: CfgNode) -> CfgNode:
    return _changed(cfg, ["DATALOADER.NUM_WORKERS", 0])


def _changed(cfg: CfgNode, options: list[Any]) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(options)
    cfg.freeze()
    return cfg


def _step_runner(cfg: CfgNode) -> Callable[..., SimpleTrainer]:
    num_parts = cfg.SOLVER.ACCUMULATION_STEPS
    has_amp = cfg.SOLVER.AMP.ENABLED and torch.device(cfg.MODEL.DEVICE).type == "cuda"
    if cfg.SOLVER.AMP.ENABLED and not has_amp:
        logger.info("SOLVER.AMP.ENABLED needs CUDA: training in float32 on %s", cfg.MODEL.DEVICE)
    if num_parts == 1:
        return AMPTrainer if has_amp else SimpleTrainer
    accumulating = AccumulatingAMPTrainer if has_amp else AccumulatingTrainer
    return functools.partial(accumulating, num_parts=num_parts)
