"""One training or evaluation job from Detectron2's command-line arguments."""

from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detectron2.config import CfgNode, get_cfg
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from freeseg.checkpoints import StrictCheckpointer
from freeseg.classes import accepts_auto, with_own_classes
from freeseg.config import (
    add_freeseg_config,
    augmentation_arguments,
    choose_test_datasets,
    completed,
    inference_section,
    sliding_window_arguments,
)
from freeseg.config.unused import refuse_unsupported
from freeseg.engine.beginning import beginning, require_output_folder
from freeseg.engine.dataset_checks import check_datasets
from freeseg.engine.dataset_tuning import tuned_over_dataset
from freeseg.engine.disk import one_line_if_full
from freeseg.engine.job_log import begin_log, held_log
from freeseg.engine.launch import launch
from freeseg.engine.report import report_results, write_config
from freeseg.engine.trainer import Trainer
from freeseg.evaluation import judges
from freeseg.inference import AugmentedSemantic, SlidingWindow
from freeseg.release_names import register_release_names
from freeseg.resources import config_address, expand_home
from freeseg.zoo import holds_model, weights_path
from freeseg_command.messages import INTERRUPTED

logger = logging.getLogger(__name__)


def start_job(args: argparse.Namespace) -> None:
    """Runs the job that ``default_argument_parser`` read, in as many processes as it asks for.

    Raises:
        RefusalError: It cannot begin.
        WriteError: A file cannot be written.
        SystemExit: With 130 when the user interrupts it.
    """
    with held_log():  # the processes say it
        device = load_config(args).MODEL.DEVICE
    try:
        launch(
            run_job,
            args.num_gpus,
            device=device,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except KeyboardInterrupt:
        logger.error("interrupted: --resume goes on from the last checkpoint")
        raise SystemExit(INTERRUPTED) from None


def run_job(args: argparse.Namespace) -> dict[str, Any]:
    """Trains, or only evaluates, in this process; returns the results of the evaluation.

    What a folder holds is left alone until there is something to take its place.

    Raises:
        JobError: It cannot begin.
        WriteError: A file cannot be written.
    """
    register_release_names()
    with beginning(), held_log() as held:
        cfg = load_config(args)
        if args.eval_only:
            cfg = evaluation_config(cfg, resume=args.resume)
        require_output_folder(cfg.OUTPUT_DIR)
        _set_torch(cfg, is_training=not args.eval_only)
        if args.eval_only:
            run = _prepare_evaluation(cfg)
        else:
            run = _prepare_training(cfg, resume=args.resume)
    with one_line_if_full(cfg.OUTPUT_DIR):
        begin_log(cfg, args, held)
        return run()


def _set_torch(cfg: CfgNode, *, is_training: bool) -> None:
    """Seeds the random numbers, and says how exact and how fast to compute."""
    if cfg.MODEL.DEVICE == "cpu" and torch.cuda.is_available():
        logger.info("MODEL.DEVICE is cpu: the GPU of this machine is not used")
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + comm.get_rank())
    torch.backends.cudnn.benchmark = is_training and cfg.CUDNN_BENCHMARK
    if cfg.FLOAT32_PRECISION:
        torch.set_float32_matmul_precision(cfg.FLOAT32_PRECISION)
        torch.backends.cudnn.allow_tf32 = cfg.FLOAT32_PRECISION != "highest"


def load_config(args: argparse.Namespace) -> CfgNode:
    """The frozen configuration: defaults, then the file, then KEY VALUE overrides."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    if args.config_file:
        with accepts_auto(cfg):
            cfg.merge_from_file(config_address(args.config_file))
    with accepts_auto(cfg):  # also over the file's number
        cfg.merge_from_list(args.opts or [])
    expand_home(cfg)
    refuse_unsupported(cfg)
    choose_test_datasets(cfg)
    if args.eval_only:
        cfg.MODEL.IS_TRAIN = False  # what only training needs is not built
    if torch.device(cfg.MODEL.DEVICE).type == "cuda" and not torch.cuda.is_available():
        logger.warning("MODEL.DEVICE is %s but there is no CUDA: using cpu", cfg.MODEL.DEVICE)
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


def evaluation_config(cfg: CfgNode, *, resume: bool) -> CfgNode:
    """The configuration of an evaluation, with its own OUTPUT_DIR, weights and class list.

    Where OUTPUT_DIR holds a model it is the folder ``evaluation`` in it: what a training says of
    its model stays.

    Args:
        cfg: As `load_config` gives it.
        resume: The last checkpoint in OUTPUT_DIR, if there is one, takes the place of
            MODEL.WEIGHTS.
    """
    cfg = cfg.clone()
    cfg.defrost()
    folder = Path(cfg.OUTPUT_DIR)
    last = StrictCheckpointer(nn.Module(), str(folder))
    if resume and last.has_checkpoint():
        cfg.MODEL.WEIGHTS = last.get_checkpoint_file()
    if holds_model(folder):
        cfg.OUTPUT_DIR = str(folder / "evaluation")
    cfg.freeze()
    return with_own_classes(cfg)


def _prepare_training(cfg: CfgNode, *, resume: bool) -> Callable[[], dict[str, Any]]:
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    return trainer.train


def _prepare_evaluation(cfg: CfgNode) -> Callable[[], dict[str, Any]]:
    check_datasets(cfg, is_training=False)
    model = Trainer.build_model(cfg)
    _load_weights(cfg, model)
    return functools.partial(_evaluate, cfg, model)


def evaluate(cfg: CfgNode, *, resume: bool) -> dict[str, Any]:
    """Evaluates MODEL.WEIGHTS, or with `resume` the last checkpoint in OUTPUT_DIR.

    Raises:
        JobError: It cannot begin.
    """
    cfg = completed(cfg)
    with beginning():
        run = _prepare_evaluation(evaluation_config(cfg, resume=resume))
    return run()


def _evaluate(cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
    if comm.is_main_process():
        write_config(cfg)
    results = {**Trainer.test(cfg, model), **_evaluate_augmented(cfg, model)}
    if comm.is_main_process() and results:
        report_results(cfg, results, weights=cfg.MODEL.WEIGHTS or "random weights")
        if cfg.TEST.EXPECTED_RESULTS:
            verify_results(cfg, results)
    return results


def _load_weights(cfg: CfgNode, model: nn.Module) -> None:
    checkpointer = StrictCheckpointer(model)
    if not cfg.MODEL.WEIGHTS:
        logger.warning("MODEL.WEIGHTS is empty: evaluating a model with random weights")
    checkpointer.load(weights_path(cfg.MODEL.WEIGHTS))
    checkpointer.check_fit(cfg.MODEL.WEIGHTS, allow_misfit=cfg.MODEL.ALLOW_MISFIT)


def _evaluate_augmented(cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
    """Semantic results with TEST.AUG, under names that end with _TTA; none where it is off.

    Datasets without semantic ground truth are left out.
    """
    augmentation = augmentation_arguments(cfg)
    if augmentation is None:
        return {}
    num_datasets = len(cfg.DATASETS.TEST)
    datasets = [name for name in cfg.DATASETS.TEST if "semantic" in judges(name)]
    if not datasets:
        return {}
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TEST = tuple(datasets)
    cfg.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR) / "augmented")
    only = inference_section(cfg)
    only.SEMANTIC_ON, only.INSTANCE_ON, only.PANOPTIC_ON = True, False, False
    model = tuned_over_dataset(cfg, model)
    windows = sliding_window_arguments(cfg)
    if windows is not None:  # of every copy, not copies of every window
        model, cfg.TEST.AUG.IS_SLIDE = SlidingWindow(model, **windows), False
    results = Trainer.test(cfg, AugmentedSemantic(model, **augmentation))
    if len(datasets) == 1 < num_datasets:  # Detectron2 names a dataset's results when it has others
        results = {datasets[0]: results}
    return {f"{name}_TTA": values for name, values in results.items()}
