#!/usr/bin/env python3
"""Draws pictures of a dataset with their annotation, to see that it was read rightly.

tools/visualize_data.py --dataset shapes_val_panoptic [--number 8] [--output output/data]
tools/visualize_data.py --config-file mine.yaml      # the training set of a configuration
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.visualizer import Visualizer
from freeseg.data import register_custom
from freeseg.data.annotation_files import drawable_record
from freeseg.data.photos import PhotoReader, unique_stems
from freeseg.model_loading import load_config


def main() -> None:
    """Writes one PNG per picture and says where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", metavar="NAME", help="default: the configuration's first")
    parser.add_argument("--config-file", type=Path, help="its DATASETS.CUSTOM is registered")
    parser.add_argument("--number", type=int, default=8, help="of pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("output/data"))
    args = parser.parse_args()
    name, reader = args.dataset, PhotoReader()
    if args.config_file:
        cfg = load_config(args.config_file)
        register_custom(cfg.DATASETS.CUSTOM)
        reader = PhotoReader.from_config(cfg)
        name = name or cfg.DATASETS.TRAIN[0]
    if name is None:
        parser.error("name a --dataset or a --config-file")
    records = DatasetCatalog.get(name)
    args.output.mkdir(parents=True, exist_ok=True)
    chosen = random.Random(args.seed).sample(records, min(args.number, len(records)))
    stems = unique_stems([Path(record["file_name"]) for record in chosen])
    for record, stem in zip(chosen, stems):
        canvas = Visualizer(reader.read(record), MetadataCatalog.get(name))
        path = args.output / f"{stem}.png"
        Image.fromarray(canvas.draw_dataset_dict(drawable_record(record, 255)).get_image()).save(
            path
        )
        print(path)
    print(f"{len(records)} pictures in {name}")


if __name__ == "__main__":
    main()
