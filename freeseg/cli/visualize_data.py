"""`freeseg visualize-data`: pictures of a dataset with their annotation."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from detectron2.utils.visualizer import Visualizer
from freeseg.catalog import dataset_metadata
from freeseg.data import check_registered, register_custom
from freeseg.data.annotation_files import drawable_record
from freeseg.data.datasets.catalog import ignore_label_of
from freeseg.data.photos import PhotoReader, unique_stems
from freeseg.data.records import dataset_records
from freeseg.files import write_bytes
from freeseg.systems.building import read_config
from freeseg.visualization.export import png_bytes
from freeseg_command.messages import DONE, make_folder, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Draws pictures of a dataset with their annotation, to see that it was read rightly."
    )
    parser.set_defaults(run="freeseg.cli.visualize_data:run")
    parser.add_argument("--dataset", metavar="NAME", help="default: the configuration's first")
    parser.add_argument("--config-file", metavar="FILE", help="its DATASETS.CUSTOM is registered")
    parser.add_argument("--number", type=int, default=8, help="of pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("output/data"))


def run(args: argparse.Namespace) -> int:
    """Writes one PNG per picture and says where."""
    name, reader = args.dataset, PhotoReader()
    if args.config_file:
        cfg = read_config(args.config_file, None, None, ())
        register_custom(cfg.DATASETS.CUSTOM)
        reader = PhotoReader.from_config(cfg)
        name = name or cfg.DATASETS.TRAIN[0]
    if name is None:
        raise ValueError("name a --dataset or a --config-file")
    check_registered([name])
    records = dataset_records(name)
    make_folder(args.output, "--output")
    chosen = random.Random(args.seed).sample(records, min(args.number, len(records)))
    stems = unique_stems([Path(record["file_name"]) for record in chosen])
    metadata = dataset_metadata(name)
    void = ignore_label_of(name)
    for record, stem in zip(chosen, stems):
        canvas = Visualizer(reader.read(record), metadata)
        drawn = canvas.draw_dataset_dict(drawable_record(record, void)).get_image()
        path = args.output / f"{stem}.png"
        write_bytes(path, png_bytes(drawn))
        say(str(path))
    say(f"{len(records)} pictures in {name}")
    return DONE
