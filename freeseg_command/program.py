"""The command line as a whole: its parser, its commands, and what happens to their errors."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from freeseg_command import __version__
from freeseg_command.messages import (
    EXIT_CODES,
    INTERRUPTED,
    USAGE_ERROR,
    complain,
    exit_code_of,
)
from freeseg_command.start import examine_start, one_line, report


@dataclass(frozen=True)
class Command:
    """A command of which only the name is known yet.

    Attributes:
        name: What is typed.
        help: Its line in `freeseg --help`.
        arguments: "module:function" that adds its arguments to a parser. They set `run`, another
            "module:function", which takes what was parsed and returns an exit code.
    """

    name: str
    help: str
    arguments: str


_LIGHT = "freeseg_command.arguments"
COMMANDS = (
    Command(
        "segment",
        "segment photos and videos; write overlays, label maps, COCO files and pages",
        f"{_LIGHT}.segment:add_arguments",
    ),
    Command(
        "track",
        "follow objects through a video by masks or examples",
        "freeseg.cli.track:add_arguments",
    ),
    Command(
        "edit",
        "take what words name out of a photo, or paint something else there",
        f"{_LIGHT}.edit:add_arguments",
    ),
    Command(
        "models",
        "list the models that can be named; fetch one",
        f"{_LIGHT}.models:add_arguments",
    ),
    Command(
        "info",
        "say what a model or a checkpoint is",
        f"{_LIGHT}.info:add_arguments",
    ),
    Command(
        "convert",
        "write a model as a folder to give away, or weights of a release under our names",
        "freeseg.cli.model_info:add_convert_arguments",
    ),
    Command("train", "train a model", "freeseg.cli.jobs:add_train_arguments"),
    Command(
        "evaluate",
        "evaluate a model on its datasets",
        "freeseg.cli.jobs:add_evaluate_arguments",
    ),
    Command(
        "check",
        "look at datasets: photos, masks, classes, sizes",
        f"{_LIGHT}.check:add_arguments",
    ),
    Command(
        "serve",
        "a web page to segment photos in a browser",
        f"{_LIGHT}.serve:add_arguments",
    ),
    Command(
        "segment-dataset",
        "segment folders, lists and tar shards of any size; can be killed and started again",
        "freeseg.cli.segment_dataset:add_arguments",
    ),
    Command(
        "label",
        "label photos with a model: a COCO data set, and pages to review it",
        "freeseg.cli.label:add_arguments",
    ),
    Command(
        "visualize-data",
        "draw pictures of a dataset with their annotation",
        "freeseg.cli.visualize_data:add_arguments",
    ),
    Command(
        "visualize-results",
        "draw pictures of a dataset twice: annotation and a model's result",
        "freeseg.cli.visualize_results:add_arguments",
    ),
    Command(
        "export-model",
        "write a model as ONNX or as a program of torch.export",
        "freeseg.cli.export_model:add_arguments",
    ),
    Command(
        "analyze-model",
        "count a model's parameters and operations, by its parts",
        "freeseg.cli.analyze_model:add_arguments",
    ),
    Command(
        "check-parity",
        "compare a system with stored outputs of its original",
        "freeseg.cli.check_parity:add_arguments",
    ),
    Command(
        "evaluate-few-shot",
        "evaluate a model on PASCAL-5i, COCO-20i or FSS-1000",
        "freeseg.cli.measurements:add_few_shot_arguments",
    ),
    Command(
        "evaluate-clips",
        "judge how objects were followed through clips, by J and F",
        "freeseg.cli.evaluate_clips:add_arguments",
    ),
    Command(
        "tune-prompt",
        "learn an example for SegGPT on a data set",
        "freeseg.cli.tune_prompt:add_arguments",
    ),
    Command(
        "evaluate-prompts",
        "ask CLIP for the classes of annotated regions, under FreeSeg's prompts",
        "freeseg.cli.measurements:add_prompts_arguments",
    ),
    Command(
        "measure-behaviour",
        "ask for labels that are there, that are not, and in other words",
        "freeseg.cli.measurements:add_behaviour_arguments",
    ),
    Command(
        "measure-doubt",
        "find the certainty from which on a model is to call photos unsure",
        "freeseg.cli.measure_doubt:add_arguments",
    ),
    Command(
        "submit-slurm",
        "train on a SLURM cluster",
        "freeseg.cli.submit_slurm:add_arguments",
    ),
    Command(
        "prepare",
        "bring a downloaded dataset into the form that training reads",
        "freeseg.cli.prepare:add_arguments",
    ),
    Command(
        "doctor",
        "check the installation and say what to do about problems",
        f"{_LIGHT}.doctor:add_arguments",
    ),
)


class CannotStartError(Exception):
    """What a command needs cannot be imported; the message is one line."""


def run_command(argv: Sequence[str]) -> int:
    """Runs the command line and returns its exit code."""
    if argv[:1] == ["doctor"]:
        findings = list(examine_start())
        if findings:
            return report(findings, as_json="--json" in argv)
    try:
        args = build_parser().parse_args(argv)
        run = _imported(args.run)
    except SystemExit as stop:  # argparse has said what is wrong, or has printed the help
        return int(stop.code or 0)
    except CannotStartError as error:
        sys.stderr.write(f"freeseg {__version__} cannot start: {error}\n")
        return USAGE_ERROR
    logging.basicConfig(level=args.log_level, format="freeseg: %(levelname)s: %(message)s")
    return exit_code_of(lambda: run(args), args)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `args.run` names the function of the one that was given."""
    parser = argparse.ArgumentParser(
        prog="freeseg",
        description="Segments photos and videos with trained models.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"freeseg {__version__}")
    _offer_completion(parser)
    parser.set_defaults(errors_are_lines=True, log_level=logging.WARNING)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)
    for command in COMMANDS:
        # "resolve": Detectron2's flags have a --help too
        added = commands.add_parser(command.name, help=command.help, conflict_handler="resolve")
        added.command = command
    return parser


def _offer_completion(parser: argparse.ArgumentParser) -> None:
    """Adds --print-completion where shtab, which writes the scripts, is installed."""
    try:
        import shtab
    except ImportError:
        return

    class PrintCompletion(argparse.Action):
        """Prints the script for a shell, with the arguments of every command, and ends."""

        def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, *__: Any) -> None:
            for command in _commands_of(parser):
                command.complete()
            sys.stdout.write(shtab.complete(parser, shell) + "\n")
            parser.exit()

    text = "print a shell's completion script"
    shells = shtab.SUPPORTED_SHELLS
    parser.add_argument("--print-completion", action=PrintCompletion, choices=shells, help=text)


def _commands_of(parser: argparse.ArgumentParser) -> Iterator[CommandParser]:
    for action in parser._actions:
        if isinstance(action.choices, dict):
            yield from action.choices.values()


class CommandParser(argparse.ArgumentParser):
    """The parser of a command, which gets its arguments when it has to parse some."""

    command: Command | None = None  # whose arguments are not there yet

    def complete(self) -> None:
        """Adds the arguments."""
        command, self.command = self.command, None
        if command is not None:
            _imported(command.arguments)(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.complete()
        found, rest = super().parse_known_args(args, namespace)
        for name, value in vars(found).items():
            setattr(found, name, _at_home(value))
        return found, rest


def _at_home(value: Any) -> Any:
    """An argument with the user's folder for "~", which shells leave in quotes and behind "="."""
    if isinstance(value, (list, tuple)):
        return type(value)(_at_home(part) for part in value)
    if isinstance(value, PurePath):
        return type(value)(os.path.expanduser(value))
    return os.path.expanduser(value) if isinstance(value, str) else value


def _imported(name: str) -> Callable[..., Any]:
    """The function that "module:function" names.

    Raises:
        CannotStartError: It cannot be imported.
    """
    module, _, function = name.partition(":")
    try:
        with _ending_at_once():
            found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise CannotStartError(one_line(error)) from error
    return found


@contextlib.contextmanager
def _ending_at_once() -> Iterator[None]:
    """Lets Ctrl-C end the process: libraries that are half imported take it for an error."""
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_heard or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: Any) -> None:
    complain("interrupted")
    os._exit(INTERRUPTED)
