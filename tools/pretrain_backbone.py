#!/usr/bin/env python3
"""Pretrains a small timm backbone on crops of Shapes, without the classes kept unseen.

tools/pretrain_backbone.py --output weights/regnetx_002_shapes.safetensors
"""

from __future__ import annotations

import argparse
import logging
import sys

from freeseg.data.shapes.crops import cut_crops
from freeseg.data.shapes.vocabulary import UNSEEN
from freeseg.engine.classification import (
    ClassificationSettings,
    classification_accuracy,
    pretrain_classifier,
    save_backbone,
)
from freeseg_command.messages import exit_code_of

TRAIN_SEED, HELD_OUT_SEED = 3000, 4000  # of scenes; the other uses of Shapes have others
GREY = (0.485, 0.456, 0.406)  # outside of a masked crop: the pixel mean


def main() -> None:
    """Trains, judges and writes a backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, help="safetensors file to be written")
    parser.add_argument("--name", default="regnetx_002", help="a name of timm.list_models()")
    parser.add_argument("--scenes", type=int, default=5000, help="training scenes")
    parser.add_argument("--held-out", type=int, default=300, help="scenes to judge on")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--side", type=int, default=64, help="of a crop, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    train, held_out = (
        cut_crops(count, seed=seed, side=args.side, fill=GREY, exact=True, without=UNSEEN)
        for count, seed in ((args.scenes, TRAIN_SEED), (args.held_out, HELD_OUT_SEED))
    )
    logging.info("%d crops of %d scenes", len(train.classes), args.scenes)
    settings = ClassificationSettings(steps=args.steps, seed=args.seed)
    model = pretrain_classifier(args.name, train, settings)
    accuracy = classification_accuracy(model, held_out)
    print(f"{accuracy:.1f} % of {len(held_out.classes)} held-out crops named right")
    about = f"python tools/pretrain_backbone.py --name {args.name} --steps {args.steps}"
    save_backbone(args.name, model, args.output, f"{about} --seed {args.seed}: {accuracy:.1f} %")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
