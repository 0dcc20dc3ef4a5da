#!/usr/bin/env python3
"""How much spatial regularisation is worth in LSeg, on Shapes: kinds and depths.

tools/ablate_lseg.py [--seeds 1,2] [--output FOLDER] [--only depth0,depth2] [KEY VALUE ...]
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from freeseg.engine.ablation import Metric, Study, Variant

ROOT = Path(__file__).resolve().parents[1]


def regularised(kind: str, depth: int) -> tuple[str, ...]:
    """Overrides that train with a regularisation."""
    return ("MODEL.LSEG.REGULARISATION", kind, "MODEL.LSEG.BLOCK_DEPTH", str(depth))


STUDY = Study(
    tool=ROOT / "tools" / "train_net.py",
    config=ROOT / "configs" / "lseg" / "shapes" / "small.yaml",
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


def main() -> None:
    """Reads the arguments, runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        description="Trains LSeg on Shapes with no, shallow and deep spatial regularisation and "
        "writes a Markdown table. Started again, it goes on where it was.",
        epilog="variants: " + ", ".join(variant.folder for variant in STUDY.variants),
    )
    parser.add_argument("--seeds", default="1,2", help="separated by commas")
    parser.add_argument("--output", type=Path, default=Path("output/lseg_ablation"))
    parser.add_argument("--only", default="", help="variants, separated by commas; all")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="KEY VALUE ... for all runs")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    study = STUDY.select(arguments.only.split(",")) if arguments.only else STUDY
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    print(study.run(arguments.output, seeds, arguments.options))


if __name__ == "__main__":
    main()
