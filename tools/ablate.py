#!/usr/bin/env python3
"""FreeSeg's claims in miniature: what each of its parts is worth on Shapes.

tools/ablate.py [--seeds 1,2] [--output FOLDER] [--only full,no_clip] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from freeseg.engine.ablation import Metric, Study, Variant

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "freeseg" / "shapes"
NO_TASK = ("MODEL.FREESEG.USE_TASK", "False")
TEMPLATE = ("MODEL.CLIP_ADAPTER.PROMPT_LEARNER", "predefined")
NO_CLIP = ("MODEL.CLIP_ADAPTER.CLIP_ENSEMBLE", "False")
NO_INTERACTION = ("MODEL.FREESEG.CONTEXT_INTERACTION", "False")
TUNED = ("TEST.PROMPT_TUNING.ENABLED", "True")
UNTUNED = ("TEST.PROMPT_TUNING.ENABLED", "False")
TEMPLATES = ("MODEL.CLIP_ADAPTER.PREDEFINED_PROMPT_TEMPLATES", "['a photo of a {}.']")


def only(task: str) -> tuple[str, ...]:
    """Overrides that train and evaluate one task."""
    switches = [
        (f"MODEL.MASK_FORMER.TEST.{name.upper()}_ON", str(name == task))
        for name in ("semantic", "instance", "panoptic")
    ]
    flat = [item for switch in switches for item in switch]
    return ("INPUT.TASK_NAME", f"['{task} segmentation.']", *flat, "TEST.BEST_METRIC", "")


STUDY = Study(
    tool=ROOT / "tools" / "train_net.py",
    config=CONFIGS / "full.yaml",
    prompt_config=CONFIGS / "prompts.yaml",
    prompt_stages={"prompts": (), "prompts_no_task": NO_TASK},
    variants=(
        Variant("full", "full", TUNED, "prompts"),
        Variant("fixed template", "template", (*TEMPLATE, *TEMPLATES)),
        Variant("no task prompt", "no_task", (*NO_TASK, *TUNED), "prompts_no_task"),
        Variant("no context interaction", "no_interaction", (*NO_INTERACTION, *TUNED), "prompts"),
        Variant("no region CLIP", "no_clip", (*NO_CLIP, *TUNED), "prompts", "full"),
        Variant("no prompt tuning", "no_tuning", UNTUNED, "prompts", "full"),
        Variant("semantic alone", "semantic", (*only("semantic"), *TUNED), "prompts"),
        Variant("instance alone", "instance", (*only("instance"), *TUNED), "prompts"),
        Variant("panoptic alone", "panoptic", (*only("panoptic"), *TUNED), "prompts"),
    ),
    metrics=(
        Metric("mIoU seen", "sem_seg", "mIoU_seen"),
        Metric("unseen", "sem_seg", "mIoU_unseen"),
        Metric("harmonic", "sem_seg", "hIoU"),
        Metric("PQ seen", "panoptic_seg", "PQ_seen"),
        Metric("unseen", "panoptic_seg", "PQ_unseen"),
        Metric("AP seen", "segm", "AP_seen"),
        Metric("unseen", "segm", "AP_unseen"),
    ),
)


def main() -> None:
    """Reads the arguments, runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        description="Trains FreeSeg on Shapes with and without each of its parts and writes a "
        "Markdown table. Started again, it goes on where it was.",
        epilog="variants: " + ", ".join(variant.folder for variant in STUDY.variants),
    )
    parser.add_argument("--seeds", default="1,2", help="separated by commas")
    parser.add_argument("--output", type=Path, default=Path("output/freeseg_ablation"))
    parser.add_argument("--only", default="", help="variants, separated by commas; all")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="KEY VALUE ... for all runs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    study = STUDY.select(arguments.only.split(",")) if arguments.only else STUDY
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    print(study.run(arguments.output, seeds, arguments.options))


if __name__ == "__main__":
    main()
