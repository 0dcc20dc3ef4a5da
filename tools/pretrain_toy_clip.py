#!/usr/bin/env python3
"""Trains the toy CLIP that freeseg ships, and says how well it names crops that it never saw.

python tools/pretrain_toy_clip.py --output freeseg/text/toy_clip.safetensors
"""

import argparse
import logging
import sys

import torch

from freeseg.data.shapes.crops import cut_crops
from freeseg.data.shapes.phrases import words
from freeseg.engine.contrastive import PretrainSettings, pretrain, retrieval_accuracy
from freeseg.text.clip import PIXEL_MEAN
from freeseg.text.toy_clip import load_toy_clip, new_toy_clip, save_toy_clip
from freeseg_command.messages import exit_code_of

TRAIN_SEED, HELD_OUT_SEED = 1000, 2000  # of scenes; Shapes' own splits have others


def main() -> None:
    """Trains, writes and judges a toy CLIP."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, help="safetensors file to be written")
    parser.add_argument("--scenes", type=int, default=4000, help="training scenes")
    parser.add_argument("--held-out", type=int, default=400, help="scenes to judge on")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--evaluate", action="store_true", help="judge --output, train nothing")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not args.evaluate:
        train = cut_crops(args.scenes, seed=TRAIN_SEED, side=32, fill=PIXEL_MEAN, exact=False)
        logging.info("%d crops of %d scenes", len(train.classes), args.scenes)
        torch.manual_seed(args.seed)
        model = new_toy_clip(words())
        pretrain(model, train, PretrainSettings(steps=args.steps, seed=args.seed))
        about = f"python tools/pretrain_toy_clip.py --steps {args.steps} --seed {args.seed}"
        save_toy_clip(model, args.output, about)
    held_out = cut_crops(args.held_out, seed=HELD_OUT_SEED, side=32, fill=PIXEL_MEAN, exact=True)
    for kind, accuracy in retrieval_accuracy(load_toy_clip(args.output), held_out).items():
        print(f"{kind}: {accuracy:.1f} % of {len(held_out.classes)} crops named right, of 53 names")


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
