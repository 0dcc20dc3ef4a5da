"""What every command says in the same way: errors, JSON, exit codes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DONE, SOME_FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130
PIPE_CLOSED = 141  # as shells say it

EXIT_CODES = """exit codes:
  0    all was done
  1    some of it could not be done (one line each says why), or a check found a problem
  2    the command, the model, the configuration or the weights cannot be used
  130  interrupted
"""


def exit_code_of(run: Callable[[], int | None], args: argparse.Namespace | None = None) -> int:
    """Runs a command or a tool; a mistake of its user costs one line, a bug is a traceback.

    Args:
        run: Its main function; None is as good as 0.
        args: `errors_are_lines` of it says, when an error comes, whether it can be a mistake; it is
            one when there are no arguments. An error whose `is_about_data` is true always is one;
            its `problems`, where it has them, are its lines.
    """
    try:
        code = int(run() or DONE)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head -1` has what it wanted
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - what Python flushes at its end
        return PIPE_CLOSED
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except (OSError, ValueError, ImportError) as error:
        can_be_mistake = args is None or args.errors_are_lines
        if not can_be_mistake and not getattr(error, "is_about_data", False):
            raise
        for line in getattr(error, "problems", [str(error)]):
            complain(f"error: {line}")
        return USAGE_ERROR


def complain(message: str) -> None:
    """Says on standard error what is wrong."""
    sys.stderr.write(f"freeseg: {message}\n")


def printable(text: str) -> str:
    """A line without what would break it, as file names may have."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def make_folder(path: Path, option: str) -> None:
    """Makes the folder that an option names.

    Raises:
        ValueError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{option}: folder {path} cannot be made: {error.strerror}") from error


def say(text: str) -> None:
    """Writes a line to standard output."""
    sys.stdout.write(text + "\n")


def say_json(content: Any) -> None:
    """Writes JSON to standard output."""
    say(json.dumps(content, indent=2, default=str))


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"wanted a number from 0 to 1, got {text}")
    return value


def natural(text: str) -> int:
    """A number from 0 on, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"wanted a number from 0 on, got {text}")
    return value


def positive(text: str) -> int:
    """A number from 1 on, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"wanted a number from 1 on, got {text}")
    return value
