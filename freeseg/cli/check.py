"""`freeseg check`: looks at datasets before they are trained or evaluated on."""

from __future__ import annotations

import argparse

from detectron2.config import CfgNode, get_cfg
from freeseg.config import add_freeseg_config
from freeseg.data import check_registered, register_custom
from freeseg.data.problems import Problems
from freeseg.engine.dataset_checks import check_all
from freeseg.systems.building import read_config
from freeseg_command.messages import DONE, SOME_FAILED, complain, say


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
