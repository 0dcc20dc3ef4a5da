"""`freeseg check`: looks at datasets before they are trained or evaluated on."""

from __future__ import annotations

import argparse
from typing import Any

from detectron2.config import CfgNode, get_cfg
from freeseg.cli.messages import DONE, SOME_FAILED, complain, say
from freeseg.config import add_freeseg_config
from freeseg.data import check_registered, register_custom
from freeseg.data.problems import Problems
from freeseg.engine.dataset_checks import check_all
from freeseg.model_loading import read_config

_EPILOG = """
examples:
  freeseg check --config-file mine.yaml            # all that a training with it would use
  freeseg check my_val --config-file mine.yaml     # one set of its DATASETS.CUSTOM
  freeseg check ade20k_panoptic_train              # a registered set

Every problem is one line: file, entry, what was found, what is wanted. Exit code 1 if there is one
that training would stop at. `freeseg train` looks at the same things before its first step.
"""


def add_parsers(commands: Any) -> None:
    """Adds the command to the parser's commands."""
    parser = commands.add_parser(
        "check",
        help="look at datasets: photos, masks, classes, sizes",
        description="Looks at all photos, PNGs and annotation of datasets, and lists what is "
        "wrong. Files that have not changed since are not read again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("datasets", nargs="*", metavar="NAME", help="default: what the configuration uses")
    add("--config-file", metavar="FILE", help="has DATASETS.CUSTOM and how sets are used")
    add("--opts", nargs="*", default=[], metavar="KEY VALUE", help="overrides of the configuration")


def run(args: argparse.Namespace) -> int:
    """Checks what the arguments name."""
    cfg = _config(args)
    names = tuple(args.datasets)
    if not names and not (cfg.DATASETS.TRAIN or cfg.DATASETS.TEST):
        raise ValueError("name datasets, or a --config-file that uses some")
    problems = Problems()
    summaries = []
    with problems.collecting("classes"):
        register_custom(cfg.DATASETS.CUSTOM)
    if not problems.errors:
        check_registered(names or [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
        summaries = check_all(cfg, problems, is_training=bool(args.config_file), names=names)
    for line in problems.warnings:
        complain(f"warning: {line}")
    for line in problems.errors:
        complain(f"error: {line}")
    for one in summaries:
        objects = f", {one.objects} objects" if one.objects else ""
        say(f"{one.name}: {len(one.photos)} photos{objects}, {one.classes} classes")
    count = problems.num_errors
    say(f"{count} problem{'s' * (count != 1)}, {len(problems.warnings)} to know of")
    return SOME_FAILED if problems.errors else DONE


def _config(args: argparse.Namespace) -> CfgNode:
    if args.config_file:
        cfg = read_config(args.config_file, None, None, args.opts).clone()
    else:
        cfg = get_cfg()
        add_freeseg_config(cfg)
        cfg.merge_from_list(args.opts)
        cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ()
    cfg.defrost()
    cfg.DATASETS.CHECK = True
    cfg.freeze()
    return cfg
