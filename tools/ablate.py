#!/usr/bin/env python3
"""What the parts of a system are worth: trains variants of it and writes a table of their results.

tools/ablate.py STUDY [--seeds 1,2] [--output FOLDER] [--only full,no_clip] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from freeseg.engine.ablation import Metric, Study, Variant
from freeseg.structures import JUDGED_TASKS
from freeseg_command.messages import exit_code_of

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
TOOL = ROOT / "tools" / "train_net.py"


def only(node: str, task: str) -> tuple[str, ...]:
    """Overrides that evaluate one task alone; `node` is the section that switches outputs."""
    switches = [(f"{node}.{name.upper()}_ON", str(name == task)) for name in JUDGED_TASKS]
    return (*(item for switch in switches for item in switch), "TEST.BEST_METRIC", "")


def freeseg() -> Study:
    """FreeSeg on Shapes with and without each of its parts, and trained for one task alone."""
    folder = CONFIGS / "freeseg" / "shapes"
    no_task = ("MODEL.FREESEG.USE_TASK", "False")
    template = (
        *("MODEL.CLIP_ADAPTER.PROMPT_LEARNER", "predefined"),
        *("MODEL.CLIP_ADAPTER.PREDEFINED_PROMPT_TEMPLATES", "['a photo of a {}.']"),
    )
    no_interaction = ("MODEL.FREESEG.CONTEXT_INTERACTION", "False")
    objectness = ("MODEL.FREESEG.REGION_OBJECTNESS", "True")
    no_clip = ("MODEL.CLIP_ADAPTER.CLIP_ENSEMBLE", "False")
    tuned = ("TEST.PROMPT_TUNING.ENABLED", "True")
    untuned = ("TEST.PROMPT_TUNING.ENABLED", "False")

    def alone(task: str) -> tuple[str, ...]:
        outputs = only("MODEL.MASK_FORMER.TEST", task)
        return ("INPUT.TASK_NAME", f"['{task} segmentation.']", *outputs, *tuned)

    return Study(
        tool=TOOL,
        config=folder / "full.yaml",
        prompt_config=folder / "prompts.yaml",
        prompt_stages={"prompts": (), "prompts_no_task": no_task},
        variants=(
            Variant("full", "full", tuned, "prompts"),
            Variant("fixed template", "template", template),
            Variant("no task prompt", "no_task", (*no_task, *tuned), "prompts_no_task"),
            Variant(
                "no context interaction", "no_interaction", (*no_interaction, *tuned), "prompts"
            ),
            Variant("no region CLIP", "no_clip", (*no_clip, *tuned), "prompts", "full"),
            Variant(
                "region CLIP of objects", "objectness", (*objectness, *tuned), "prompts", "full"
            ),
            Variant("no prompt tuning", "no_tuning", untuned, "prompts", "full"),
            *(Variant(f"{task} alone", task, alone(task), "prompts") for task in JUDGED_TASKS),
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


def oneformer(data: str, baseline: str) -> Study:
    """One OneFormer against a Mask2Former per task, and against one that is not told the task."""
    mask2former = CONFIGS / data / baseline
    joint = ("INPUT.DATASET_MAPPER_NAME", "oneformer_unified")

    def alone(task: str) -> tuple[str, ...]:
        probabilities = (  # cumulative
            *("INPUT.TASK_PROB.SEMANTIC", str(float(task == "semantic"))),
            *("INPUT.TASK_PROB.INSTANCE", str(float(task != "panoptic"))),
        )
        return (*joint, *probabilities, *only("MODEL.MASK_FORMER.TEST", task))

    return Study(
        tool=TOOL,
        config=CONFIGS / "oneformer" / data / "oneformer_small.yaml",
        variants=(
            Variant("OneFormer, joint", "joint"),
            *(
                Variant(f"Mask2Former, {task} alone", task, alone(task), config=mask2former)
                for task in JUDGED_TASKS
            ),
            Variant("Mask2Former, joint", "untold", joint, config=mask2former),
            Variant("no task in the queries", "no_task", ("MODEL.ONE_FORMER.TASK_INIT", "False")),
            Variant(
                "no contrastive loss",
                "no_contrast",
                ("MODEL.ONE_FORMER.CONTRASTIVE_WEIGHT", "0.0"),
            ),
            Variant("no learned context", "no_context", ("MODEL.TEXT_ENCODER.N_CTX", "0")),
        ),
        metrics=(
            Metric("PQ", "panoptic_seg", "PQ"),
            Metric("AP", "segm", "AP"),
            Metric("mIoU", "sem_seg", "mIoU"),
        ),
    )


def lseg() -> Study:
    """LSeg on Shapes with no, shallow and deep spatial regularisation."""

    def regularised(kind: str, depth: int) -> tuple[str, ...]:
        return ("MODEL.LSEG.REGULARISATION", kind, "MODEL.LSEG.BLOCK_DEPTH", str(depth))

    return Study(
        tool=TOOL,
        config=CONFIGS / "lseg" / "shapes" / "small.yaml",
        variants=(
            Variant("none", "depth0", regularised("none", 0)),
            Variant("bottleneck, depth 1", "depth1", regularised("bottleneck", 1)),
            Variant("bottleneck, depth 2", "depth2", regularised("bottleneck", 2)),
            Variant("bottleneck, depth 4", "depth4", regularised("bottleneck", 4)),
            Variant("depthwise, depth 2", "depthwise2", regularised("depthwise", 2)),
        ),
        metrics=(
            Metric("mIoU", "sem_seg", "mIoU"),
            Metric("seen", "sem_seg", "mIoU_seen"),
            Metric("unseen", "sem_seg", "mIoU_unseen"),
            Metric("pixel accuracy", "sem_seg", "pACC"),
        ),
    )


def sam() -> Study:
    """A small SAM on Shapes: three masks for one prompt against one, drawn prompts or not."""
    plain = ("MODEL.SAM.PROMPT_MAPS", "False", "MODEL.SAM.POINT_CONTENT", "False")
    return Study(
        tool=TOOL,
        config=CONFIGS / "sam" / "shapes.yaml",
        variants=(
            Variant("three masks for one prompt", "three"),
            Variant("one mask", "one", ("MODEL.SAM.MANY_PROMPTS", "0")),
            Variant("three, prompts as tokens alone", "tokens", plain),
        ),
        metrics=(
            Metric("mIoU@1", "clicks", "mIoU@1"),
            Metric("oracle@1", "clicks", "oracle@1"),
            *(Metric(f"mIoU@{number}", "clicks", f"mIoU@{number}") for number in (2, 3, 5, 9)),
            Metric("NoC@85", "clicks", "NoC@85"),
            Metric("mIoU in boxes", "boxes", "mIoU"),
        ),
    )


def seggpt() -> Study:
    """A small SegGPT on Shapes, by one example: colours drawn or fixed, then more examples."""
    shown = ("DATASETS.TEST", "('shapes_val_panoptic',)")

    def shots(count: int, ensemble: str = "feature") -> tuple[str, ...]:
        return (*shown, "TEST.EPISODES.SHOTS", str(count), "MODEL.SEGGPT.ENSEMBLE", ensemble)

    more = [Variant(f"{n} examples", f"shots{n}", shots(n), "", "drawn") for n in (2, 4, 8)]
    grids = [
        Variant(f"{n} examples in a grid", f"grid{n}", shots(n, "spatial"), "", "drawn")
        for n in (4, 8)
    ]
    fixed = ("MODEL.SEGGPT.TRAIN.RANDOM_COLOURS", "False")
    return Study(
        tool=TOOL,
        config=CONFIGS / "seggpt" / "shapes.yaml",
        variants=(
            Variant("colours drawn anew, one example", "drawn", shown),
            Variant("a colour for every class", "fixed", (*shown, *fixed)),
            *more,
            *grids,
        ),
        metrics=(
            Metric("mIoU", "few_shot", "mIoU"),
            Metric("seen", "few_shot", "mIoU_seen"),
            Metric("unseen", "few_shot", "mIoU_unseen"),
        ),
    )


STUDIES = {
    "freeseg": freeseg,
    "oneformer": lambda: oneformer("shapes", "mask2former_tiny.yaml"),
    "oneformer_camvid": lambda: oneformer("camvid", "mask2former_regnetx_002.yaml"),
    "lseg": lseg,
    "sam": sam,
    "seggpt": seggpt,
}


def main() -> None:
    """Reads the arguments, runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        description="Trains variants of a system and writes a Markdown table. Started again, it "
        "goes on where it was."
    )
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--seeds", default="1,2", help="separated by commas")
    parser.add_argument("--output", type=Path, help="folder of all runs: output/ablation_STUDY")
    parser.add_argument("--only", default="", help="variants, separated by commas; all")
    parser.add_argument("--list", action="store_true", help="print the variants and stop")
    parser.add_argument("options", nargs="*", help="KEY VALUE ... for all runs")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    study = STUDIES[arguments.study]()
    if arguments.list:
        print("\n".join(f"{variant.folder:16}{variant.name}" for variant in study.variants))
        return
    if arguments.only:
        study = study.select(arguments.only.split(","))
    output = arguments.output or Path("output") / f"ablation_{arguments.study}"
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    print(study.run(output, seeds, arguments.options))


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
