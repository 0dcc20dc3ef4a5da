#!/usr/bin/env python3
"""Segments a photo and a held-out Shapes picture: the last step of `make demo`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from detectron2.data import DatasetCatalog
from freeseg.images import sample_photo
from freeseg.segmenter import Segmenter
from freeseg.visualization.summary import report

REPOSITORY = Path(__file__).resolve().parents[1]
CAMVID_CONFIG = REPOSITORY / "configs/camvid/mask2former_regnetx_002.yaml"
CAMVID_WEIGHTS = REPOSITORY / "weights/camvid_mask2former_regnetx_002.pth"


def main() -> int:
    """Prints what was found and written; returns 1 when a picture could not be segmented."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--image", help="your photo (default: scikit-learn's china.jpg)")
    add("--output", default="output/demo", help="default: %(default)s")
    add("--config-file", default=CAMVID_CONFIG, help="default: %(default)s")
    add("--weights", default=CAMVID_WEIGHTS, help="default: %(default)s")
    add("--training", type=Path, help="folder of the Shapes model that was just trained")
    add("--dataset", default="shapes_val_panoptic", help="default: %(default)s")
    args = parser.parse_args()

    photo = args.image or "china.jpg"
    title, camvid = f"{photo}, by the CamVid model", (args.config_file, args.weights)
    jobs = [(title, Path(photo).stem, camvid, lambda: args.image or sample_photo())]
    if args.training:
        title = "A held-out Shapes picture, by the model that was just trained"
        shapes = (args.training / "config.yaml", args.training / "model_final.pth")
        jobs.append((title, "shapes", shapes, lambda: first_picture(args.dataset)))

    exit_code = 0
    for title, stem, model, read_picture in jobs:
        try:
            result = Segmenter.from_config(*model, device="cpu")(read_picture(), "all")
            print(f"\n{title}\n{report(result, result.save(args.output, stem))}")
        except (OSError, ValueError) as error:
            print(f"\n{title}\n  could not be segmented: {error}", file=sys.stderr)
            exit_code = 1
    return exit_code


def first_picture(dataset_name: str) -> str:
    """Returns the file of the first picture of a dataset."""
    return DatasetCatalog.get(dataset_name)[0]["file_name"]


if __name__ == "__main__":
    sys.exit(main())
