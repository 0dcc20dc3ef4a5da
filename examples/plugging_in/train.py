#!/usr/bin/env python3
"""Trains the example with Detectron2's own DefaultTrainer.

python examples/plugging_in/train.py OUTPUT_DIR output/squares SOLVER.MAX_ITER 200
python examples/plugging_in/train.py --config-file examples/plugging_in/words.yaml ...
"""

from __future__ import annotations

import sys
from pathlib import Path

from detectron2.config import CfgNode, get_cfg
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.engine import DefaultTrainer, default_argument_parser, default_setup, launch
from detectron2.evaluation import SemSegEvaluator
from freeseg import add_freeseg_config
from freeseg.data import SegmentationMapper

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import backbone  # noqa: E402, F401  (registers FourConvolutions)
import pixels  # noqa: E402, F401  (registers WordSegmenter)
import segmenter  # noqa: E402, F401  (registers DomainSegmenter)
from squares import register_squares  # noqa: E402


class Trainer(DefaultTrainer):
    """DefaultTrainer with freeseg's mapper; nothing else is special."""

    @classmethod
    def build_train_loader(cls, cfg):
        return build_detection_train_loader(cfg, mapper=SegmentationMapper(cfg, is_train=True))

    @classmethod
    def build_test_loader(cls, cfg, dataset_name):
        mapper = SegmentationMapper(cfg, is_train=False)
        return build_detection_test_loader(cfg, dataset_name, mapper=mapper)

    @classmethod
    def build_evaluator(cls, cfg, dataset_name):
        return SemSegEvaluator(dataset_name, output_dir=cfg.OUTPUT_DIR)


def load_config(options: list[str], config_file: str = "") -> CfgNode:
    """A configuration of the example over Detectron2's and freeseg's defaults."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(config_file or str(HERE / "config.yaml"))
    cfg.merge_from_list(options)
    register_squares(Path(cfg.OUTPUT_DIR) / "squares")
    cfg.freeze()
    return cfg


def main(args) -> None:
    """Trains, and evaluates after the last iteration."""
    cfg = load_config(args.opts, args.config_file)
    default_setup(cfg, args)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()


if __name__ == "__main__":
    arguments = default_argument_parser().parse_args()
    launch(main, arguments.num_gpus, args=(arguments,))
