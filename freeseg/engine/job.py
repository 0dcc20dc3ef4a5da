"""One training or evaluation job from Detectron2's command-line arguments."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_setup
from detectron2.evaluation import verify_results
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from freeseg.checkpoints import StrictCheckpointer
from freeseg.classes import accepts_auto, with_own_classes
from freeseg.config import (
    add_freeseg_config,
    augmentation_arguments,
    choose_test_datasets,
    completed,
    sliding_window_arguments,
    test_node,
)
from freeseg.config_unused import refuse_unsupported
from freeseg.engine.beginning import beginning, require_output_folder
from freeseg.engine.dataset_checks import check_datasets
from freeseg.engine.launch import launch
from freeseg.engine.report import report_results
from freeseg.engine.trainer import Trainer
from freeseg.evaluation import judged_tasks
from freeseg.inference import AugmentedSemantic, SlidingWindow
from freeseg.release_names import register_release_names
from freeseg.resources import config_address
from freeseg.zoo import weights_path

INTERRUPTED = 130  # exit code of a command that Ctrl-C has ended

logger = logging.getLogger(__name__)


def start_job(args: argparse.Namespace) -> None:
    """Runs the job that ``default_argument_parser`` read, in as many processes as it asks for.

    Raises:
        SystemExit: With 130 when the user interrupts it.
    """
    try:
        launch(
            run_job,
            args.num_gpus,
            device=load_config(args).MODEL.DEVICE,
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

    Raises:
        JobError: It cannot begin.
    """
    register_release_names()
    with beginning():
        cfg = load_config(args)
        require_output_folder(cfg.OUTPUT_DIR)
        if args.eval_only:
            cfg = cfg if args.resume else with_own_classes(cfg)
            check_datasets(cfg, is_training=False)
        default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="freeseg")
    if cfg.MODEL.DEVICE == "cpu" and torch.cuda.is_available():
        logger.info("MODEL.DEVICE is cpu: the GPU of this machine is not used")
    if args.eval_only:
        return evaluate(cfg, resume=args.resume)
    with beginning():
        trainer = Trainer(cfg)
        trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def load_config(args: argparse.Namespace) -> CfgNode:
    """The frozen configuration: defaults, then the file, then KEY VALUE overrides."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    if args.config_file:
        with accepts_auto(cfg):
            cfg.merge_from_file(config_address(args.config_file))
    with accepts_auto(cfg):  # also over the file's number
        cfg.merge_from_list(args.opts or [])
    refuse_unsupported(cfg)
    choose_test_datasets(cfg)
    if args.eval_only:
        cfg.MODEL.IS_TRAIN = False  # what only training needs is not built
    if torch.device(cfg.MODEL.DEVICE).type == "cuda" and not torch.cuda.is_available():
        logger.warning("MODEL.DEVICE is %s but there is no CUDA: using cpu", cfg.MODEL.DEVICE)
        cfg.MODEL.DEVICE = "cpu"
    cfg.freeze()
    return cfg


def evaluate(cfg: CfgNode, *, resume: bool) -> dict[str, Any]:
    """Evaluates MODEL.WEIGHTS, or with `resume` the last checkpoint in OUTPUT_DIR.

    The datasets are those that `run_job` has checked.

    Raises:
        JobError: It cannot begin.
    """
    cfg = completed(cfg)
    with beginning():
        model = Trainer.build_model(cfg)
        _load_weights(cfg, model, resume=resume)
    results = {**Trainer.test(cfg, model), **_evaluate_augmented(cfg, model)}
    if comm.is_main_process() and results:
        report_results(cfg, results)
        if cfg.TEST.EXPECTED_RESULTS:
            verify_results(cfg, results)
    return results


def _load_weights(cfg: CfgNode, model: nn.Module, *, resume: bool) -> None:
    checkpointer = StrictCheckpointer(model, save_dir=cfg.OUTPUT_DIR)
    if not cfg.MODEL.WEIGHTS and not (resume and checkpointer.has_checkpoint()):
        logger.warning("MODEL.WEIGHTS is empty: evaluating a model with random weights")
    checkpointer.resume_or_load(weights_path(cfg.MODEL.WEIGHTS), resume=resume)
    checkpointer.check_fit(cfg.MODEL.WEIGHTS, allow_misfit=cfg.MODEL.ALLOW_MISFIT)


def _evaluate_augmented(cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
    """Semantic results with TEST.AUG, under names that end with _TTA; none where it is off.

    Datasets without semantic ground truth are left out.
    """
    augmentation = augmentation_arguments(cfg)
    if augmentation is None:
        return {}
    num_datasets = len(cfg.DATASETS.TEST)
    datasets = [name for name in cfg.DATASETS.TEST if "semantic" in judged_tasks(name)]
    if not datasets:
        return {}
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.TEST = tuple(datasets)
    cfg.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR) / "augmented")
    only = test_node(cfg)
    only.SEMANTIC_ON, only.INSTANCE_ON, only.PANOPTIC_ON = True, False, False
    windows = sliding_window_arguments(cfg)
    if windows is not None:  # of every copy, not copies of every window
        model, cfg.TEST.AUG.IS_SLIDE = SlidingWindow(model, **windows), False
    results = Trainer.test(cfg, AugmentedSemantic(model, **augmentation))
    if len(datasets) == 1 < num_datasets:  # Detectron2 names a dataset's results when it has others
        results = {datasets[0]: results}
    return {f"{name}_TTA": values for name, values in results.items()}
