"""`freeseg train` and `freeseg evaluate`: the flags of tools/train_net.py."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from detectron2.engine import default_argument_parser
from freeseg.checkpoints import OWN_CLASSES
from freeseg.data import check_registered, register_custom
from freeseg.engine import start_job
from freeseg.files import write_text
from freeseg.systems.building import existing_weights, read_config
from freeseg.zoo import find_configured, holds_model, weights_path
from freeseg_command.messages import DONE

_TRAIN_EPILOG = """
examples:
  freeseg train --config-file FILE.yaml
  freeseg train --config-file FILE.yaml --resume
  freeseg train --config-file FILE.yaml OUTPUT_DIR output/mine SOLVER.BASE_LR 0.0002
"""
_EVALUATE_EPILOG = """
examples:
  freeseg evaluate --model camvid
  freeseg evaluate --model output/mine DATASETS.TEST "('my_val',)"
  freeseg evaluate --model facebook/mask2former-swin-tiny-ade-semantic
  freeseg evaluate --config-file FILE.yaml MODEL.WEIGHTS model.pth
"""


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `freeseg train` to its parser."""
    _add_flags(parser, _TRAIN_EPILOG)
    parser.set_defaults(run="freeseg.cli.jobs:train")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `freeseg evaluate` to its parser."""
    _add_flags(parser, _EVALUATE_EPILOG)
    parser.set_defaults(run="freeseg.cli.jobs:evaluate")
    parser.add_argument("--model", metavar="NAME", help="as of `freeseg segment`")


def _add_flags(parser: argparse.ArgumentParser, epilog: str) -> None:
    """Adds Detectron2's flags, as argparse adds those of `parents`."""
    parser.epilog = epilog
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser._add_container_actions(default_argument_parser(""))
    parser.set_defaults(dist_url="auto")  # Detectron2's default is one port for all jobs of a user


def train(args: argparse.Namespace) -> int:
    """Trains what --config-file names."""
    return start_checked(args)


def evaluate(args: argparse.Namespace) -> int:
    """Evaluates what --model or --config-file names."""
    if not args.config_file and args.model is None:
        raise ValueError("name what to evaluate by --model or by --config-file")
    if args.config_file and args.model is not None:
        raise ValueError("name a model by --model or by --config-file, not by both")
    args.eval_only = True
    if args.model is None:
        _require_weights(args)
        return start_checked(args)
    found, args.opts = find_configured(args.model, args.opts or [])
    if isinstance(found.config, str) and found.config.endswith((".yaml", ".yml")):
        args.config_file = found.config
        return start_checked(args)
    # as a file, since every process of a job reads its own
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        cfg = read_config(found.config, None, None, ())
        write_text(file, cfg.dump())
        args.config_file = str(file)
        return start_checked(args)


def _require_weights(args: argparse.Namespace) -> None:
    """Refuses to evaluate what a training only begins with, in place of what it has become.

    Raises:
        ValueError: Nobody says which weights, or a configuration does whose training is there.
    """
    if args.resume or "MODEL.WEIGHTS" in (args.opts or [])[::2]:
        return
    cfg = read_config(args.config_file, None, None, args.opts or ())
    if not cfg.MODEL.WEIGHTS or holds_model(Path(cfg.OUTPUT_DIR)):
        raise ValueError(
            f"a training of {args.config_file} begins with {cfg.MODEL.WEIGHTS or 'random weights'}:"
            f" to evaluate what it became, name it by --model {cfg.OUTPUT_DIR}; to evaluate others,"
            " by MODEL.WEIGHTS FILE at the end of the line"
        )


def check_job(args: argparse.Namespace) -> None:
    """Looks whether there is all that a job names.

    Raises:
        ValueError: Something cannot be used; one line says why.
        OSError: A file is not there.
    """
    if not args.config_file:
        raise ValueError("name what to train by --config-file")
    cfg = read_config(args.config_file, None, None, args.opts or ())
    register_custom(cfg.DATASETS.CUSTOM)
    for key in ("TEST",) if args.eval_only else ("TEST", "TRAIN"):
        _refuse_own_classes(key, cfg.DATASETS[key])
        check_registered(cfg.DATASETS[key])
    if cfg.MODEL.WEIGHTS and not args.resume:  # a resumed job has weights of its own
        existing_weights(weights_path(cfg.MODEL.WEIGHTS))


def _refuse_own_classes(key: str, names: Sequence[str]) -> None:
    """Refuses what stands for a dataset where a model of Hugging Face's has classes of its own."""
    if any(name.startswith(OWN_CLASSES) for name in names):
        raise ValueError(
            "the model has classes of its own, and no dataset is known that has them: name one of "
            f"the same classes, such as DATASETS.{key} \"('mine',)\""
        )


def start_checked(args: argparse.Namespace) -> int:
    """Runs the job, once it is known that its configuration can be used.

    From then on `args.errors_are_lines` is False, see `exit_code_of`: before its first step the job
    says itself what is a mistake.
    """
    check_job(args)
    args.errors_are_lines = False  # what fails after the first step needs its traceback
    start_job(args)
    return DONE
