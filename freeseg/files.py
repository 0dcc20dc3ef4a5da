"""Files that have their name only when they are complete and on disk.

Until then they lie beside it, under a hidden name that keeps the suffix, which libraries go by.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

_numbers = itertools.count()  # of this process, whose own number is in the name too
_STEM = 40  # letters of the final name: file systems allow 255 bytes in all
_PARTIAL = re.compile(r"\..*\.\d+-\d+\.partial(\.[^.]+)?")


class WriteError(OSError):
    """A file cannot be written, as on a full disk; the message is one line."""

    is_about_data = True  # see `freeseg_command.messages.exit_code_of`


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Calls `write` on a new file that replaces `path` only after it has reached the disk.

    Raises:
        WriteError: When the file cannot be written; what was at `path` is still there.
    """
    with naming(path), replacing(path) as partial, partial.open("wb") as file:
        write(file)


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file by one with this content, or leaves it as it is and raises OSError."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, content: str) -> None:
    """Replaces a file by one with this text, or leaves it as it is and raises OSError."""
    write_bytes(path, content.encode("utf-8"))


def write_one_of_many(path: Path, content: bytes) -> None:
    """As `write_bytes`, but waits for no disk: `os.sync` after the last of thousands does."""
    with naming(path), _removing(partial_path(path)) as partial:
        partial.write_bytes(content)
        partial.replace(path)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives where to write a file that replaces `path` when the block ends without an error."""
    with _removing(partial_path(path)) as partial:
        yield partial
        publish(partial, path)


def partial_path(path: Path) -> Path:
    """Where to write what will replace `path`: beside it, alone in using the name."""
    number = f"{os.getpid()}-{next(_numbers)}"
    return path.with_name(f".{path.stem[:_STEM]}.{number}.partial{path.suffix}")


def publish(partial: Path, path: Path) -> None:
    """Gives a complete file its name, once it has reached the disk."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


@contextlib.contextmanager
def naming(
    path: Path, errors: tuple[type[Exception], ...] = (OSError, RuntimeError)
) -> Iterator[None]:
    """Says, in one line, which file could not be written; other errors pass as they are.

    PyTorch's writer has its own words for a full disk, hence RuntimeError.
    """
    try:
        yield
    except errors as error:
        cause = error if isinstance(error, OSError) else error.__context__ or error
        reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
        raise WriteError(f"{path} cannot be written: {reason}") from error


def remove_partials(folder: Path) -> None:
    """Removes what killed processes have left in a folder that no other process writes to."""
    for path in folder.glob(".*"):
        if _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def _removing(partial: Path) -> Iterator[Path]:
    try:
        yield partial
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            partial.unlink(missing_ok=True)
        raise
