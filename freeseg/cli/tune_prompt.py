"""`freeseg tune-prompt`: an example of SegGPT that is learned on a data set."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from freeseg.cli.model_choice import load_segmenter, read_model_config
from freeseg.data import check_registered, register_custom
from freeseg.data.examples import EXAMPLE_SUFFIX, save_example
from freeseg.engine.example_tuning import TuningJob
from freeseg.systems.seggpt import SegGPT
from freeseg.systems.seggpt.tuner import OPTIMIZERS, TuningSettings
from freeseg_command.arguments.model_choice import add_required_model
from freeseg_command.messages import DONE, EXIT_CODES, positive, say, say_json

_EPILOG = f"""examples:
  freeseg tune-prompt --model MODEL --dataset NAME --classes 'road, car' --output key.safetensors
  freeseg tune-prompt --model MODEL --dataset mine --steps 1000 --output mine.safetensors \\
      --opts DATASETS.CUSTOM "[['mine', 'mine.json', 'photos', '']]"
  freeseg segment photo.jpg --model MODEL --example key.safetensors

{EXIT_CODES}"""
_USUAL = TuningSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command to its parser."""
    parser.description = (
        "Learns an example for SegGPT, a picture and its painting, on a data set, each class in a "
        "colour of its own; the model stays as it is. The same arguments give the same file."
    )
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(run="freeseg.cli.tune_prompt:run", log_level=logging.INFO)
    add_required_model(parser)
    add = parser.add_argument
    add("--device", help="cpu, cuda, cuda:1 (default: the configuration's, cpu without CUDA)")
    add("--opts", nargs="+", metavar="KEY VALUE", help="overrides of the configuration")
    add("--dataset", required=True, metavar="NAME", help="registered, or one of DATASETS.CUSTOM")
    add("--classes", default="", metavar="LIST", help="of it, separated by commas (default: all)")
    add("--output", required=True, type=_example_file, metavar="FILE", help="KEY.safetensors")
    add("--start", default=1, type=positive, metavar="N", help=_START_HELP)
    add("--steps", default=_USUAL.steps, type=positive, metavar="N", help="default: %(default)s")
    add("--queries", default=_USUAL.queries, type=positive, metavar="N", help=_QUERIES_HELP)
    add("--learning-rate", default=_USUAL.learning_rate, type=float, metavar="R", help=_RATE_HELP)
    add("--optimizer", default=_USUAL.optimizer, choices=OPTIMIZERS, help="default: %(default)s")
    add("--weight-decay", default=_USUAL.weight_decay, type=float, metavar="D", help="of AdamW")
    add("--seed", default=_USUAL.seed, type=int, help="of all that is drawn")
    add("--json", action="store_true", help="print a summary as JSON to standard output")


def run(args: argparse.Namespace) -> int:
    """Tunes, and writes the file."""
    job = TuningJob(
        dataset=args.dataset,
        classes=tuple(filter(None, map(str.strip, args.classes.split(",")))),
        start=args.start,
        settings=TuningSettings(
            steps=args.steps,
            queries=args.queries,
            learning_rate=args.learning_rate,
            optimizer=args.optimizer,
            weight_decay=args.weight_decay,
            seed=args.seed,
        ),
    )
    cfg = read_model_config(args)
    register_custom(cfg.DATASETS.CUSTOM)
    check_registered([args.dataset])
    model = load_segmenter(args).model
    if not isinstance(model, SegGPT):
        raise ValueError(f"a prompt of SegGPT can be tuned, not of {type(model).__name__}")
    tuned = job.run(cfg, model)
    save_example(tuned.example, args.output)
    _say(args, tuned.example.vocabulary.names, tuned.before, tuned.after)  # type: ignore[union-attr]
    return DONE


def _say(args: argparse.Namespace, names: tuple[str, ...], before: float, after: float) -> None:
    if args.json:
        losses = {"loss_before": before, "loss_after": after}
        say_json({"file": str(args.output), "classes": names, "steps": args.steps, **losses})
        return
    say(f"loss {before:.4f} -> {after:.4f} on views that no step has seen")
    say(f"{args.output}: {', '.join(names)}")


def _example_file(text: str) -> Path:
    if not text.endswith(EXAMPLE_SUFFIX):
        raise argparse.ArgumentTypeError(f"wanted a file *{EXAMPLE_SUFFIX}, got {text}")
    return Path(text)


_START_HELP = "begin with the mean of N photos of the set (default: %(default)s, one of them)"
_QUERIES_HELP = "photos of a step (default: %(default)s)"
_RATE_HELP = "of the first step; it falls with a cosine (default: %(default)s)"
