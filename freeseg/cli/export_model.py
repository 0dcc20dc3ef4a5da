"""`freeseg export-model`: a model as ONNX or as a program of torch.export, and how equal it is."""

from __future__ import annotations

import argparse

from freeseg.cli.model_choice import load_segmenter
from freeseg.export import DynamicSize, export_model
from freeseg_command.arguments.model_choice import add_required_model
from freeseg_command.messages import DONE, say
from freeseg_command.tasks import SHOWN_TASKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Writes a trained model as ONNX or as a program of torch.export, and prints the largest "
        "difference of every output from the model's."
    )
    parser.set_defaults(run="freeseg.cli.export_model:run", device="cpu")
    add = parser.add_argument
    add("output", metavar="OUTPUT", help="a path that ends with .onnx or .pt2")
    add_required_model(parser)
    add("--size", nargs=2, type=int, default=(512, 512), metavar=("HEIGHT", "WIDTH"))
    add("--batch", type=int, default=1, metavar="N")
    add("--dynamic-batch", action="store_true", help="any number of images")
    add("--dynamic", action="store_true", help="any height and width from 64 to 2048")
    add("--task", default="", choices=("", *SHOWN_TASKS))
    add("--classes", metavar="LIST", help="for models that take class lists")
    add("--opts", nargs="+", default=[], metavar="KEY VALUE")


def run(args: argparse.Namespace) -> int:
    """Exports, and prints the largest difference of every output."""
    differences = export_model(
        load_segmenter(args),
        args.output,
        size=tuple(args.size),
        batch_size=args.batch,
        dynamic=DynamicSize(batch=args.dynamic_batch, sides=args.dynamic),
        task=args.task,
        classes=args.classes,
    )
    for name, difference in differences.items():
        say(f"{name}: within {difference:.1e} of the model")
    return DONE
