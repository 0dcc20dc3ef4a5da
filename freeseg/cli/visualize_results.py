"""`freeseg visualize-results`: pictures of a dataset twice, with annotation and with results."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from detectron2.utils.visualizer import Visualizer
from freeseg.catalog import dataset_metadata
from freeseg.cli.model_choice import load_segmenter, read_model_config
from freeseg.data import check_registered, register_custom
from freeseg.data.annotation_files import drawable_record
from freeseg.data.datasets.catalog import ignore_label_of
from freeseg.data.photos import PhotoReader, unique_stems
from freeseg.data.records import dataset_records
from freeseg.files import write_bytes
from freeseg.images import RgbImage
from freeseg.visualization.export import png_bytes
from freeseg.visualization.text import load_font
from freeseg.zoo import DEFAULT_MODEL
from freeseg_command.arguments.model_choice import add_model_options
from freeseg_command.messages import DONE, make_folder, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Draws pictures of a dataset twice: its annotation at the left, a model's result at the "
        "right."
    )
    parser.set_defaults(run="freeseg.cli.visualize_results:run")
    add_model_options(parser)
    parser.add_argument("--dataset", metavar="NAME", help="default: the model's test set")
    parser.add_argument("--number", type=int, default=8, help="of pictures (default: %(default)s)")
    parser.add_argument("--task", default="panoptic", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("output/results"))


def run(args: argparse.Namespace) -> int:
    """Writes one PNG per picture and says where."""
    cfg = read_model_config(args)
    register_custom(cfg.DATASETS.CUSTOM)
    name = args.dataset or cfg.DATASETS.TEST[0]
    check_registered([name])
    segmenter = load_segmenter(args)
    model = args.model or args.config_file or DEFAULT_MODEL
    make_folder(args.output, "--output")
    records = dataset_records(name)[: args.number]
    stems = unique_stems([Path(record["file_name"]) for record in records])
    void, reader = ignore_label_of(name), PhotoReader.from_config(cfg)
    for record, stem in zip(records, stems):
        image = reader.read(record)
        canvas = Visualizer(image, dataset_metadata(name))
        truth = canvas.draw_dataset_dict(drawable_record(record, void))
        found = segmenter(image, args.task).picture()
        halves = (truth.get_image(), "annotation"), (found, f"{model}, {args.task}")
        path = args.output / f"{stem}.png"
        write_bytes(path, png_bytes(np.concatenate([captioned(*half) for half in halves], axis=1)))
        say(str(path))
    return DONE


def captioned(picture: RgbImage, text: str) -> RgbImage:
    """Returns a picture [H, W, 3] under a line that says what it is."""
    size = max(12, picture.shape[1] // 30)
    line = Image.new("RGB", (picture.shape[1], 2 * size), "white")
    ImageDraw.Draw(line).text((size // 2, size), text, font=load_font(size), fill=0, anchor="lm")
    return np.concatenate([np.asarray(line), picture])
