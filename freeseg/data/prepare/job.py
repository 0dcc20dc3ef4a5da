"""What every dataset preparation shares: the command line, file checks, and parallel work."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from freeseg.files import write_atomically

Item = TypeVar("Item")
Result = TypeVar("Result")

SPLITS = ("train", "val")

logger = logging.getLogger(__name__)


class MissingFilesError(FileNotFoundError):
    """Files that a preparation needs and did not find; its text lists them."""

    def __init__(self, paths: Sequence[Path], hint: str) -> None:
        shown = [f"  {path}" for path in paths[:10]]
        if len(paths) > len(shown):
            shown.append(f"  ... and {len(paths) - len(shown)} more")
        super().__init__("\n".join([f"missing {len(paths)} file(s) or folder(s):", *shown, hint]))


def require(paths: Iterable[Path], hint: str) -> None:
    """Raise MissingFilesError naming every path that does not exist."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise MissingFilesError(missing, hint)


def find(folder: Path, pattern: str, hint: str) -> list[Path]:
    """The files in a folder that match a pattern, sorted; raises MissingFilesError without any."""
    files = sorted(folder.glob(pattern))
    if not files:
        raise MissingFilesError([folder / pattern], hint)
    return files


@dataclass(frozen=True)
class Job:
    """Options of a preparation."""

    source: Path  # folder of the original files
    output: Path  # folder to write into
    workers: int = 1
    splits: Sequence[str] = SPLITS


def add_options(
    parser: argparse.ArgumentParser, parts: Mapping[str, Callable[[Job], None]], folder: Path
) -> None:
    """Adds the options of a preparation to a parser.

    Args:
        parser: Of its command line.
        parts: As `run` takes them.
        folder: Default of --source and of --output, under $DETECTRON2_DATASETS.
    """
    source_help = "folder of the original files, only read (default: %(default)s)"
    parser.add_argument("--source", type=_folder, default=folder, help=source_help)
    parser.add_argument(
        "--output", type=_folder, default=folder, help="folder to write into (default: %(default)s)"
    )
    parser.add_argument(
        "--parts", nargs="+", choices=list(parts), default=list(parts), help="default: all"
    )
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument(
        "--workers", type=int, default=min(os.cpu_count() or 1, 8), help="number of processes"
    )


def _folder(text: str) -> Path:
    return Path(text).expanduser()  # of "--source=~/data" a shell leaves the ~


def run(parts: Mapping[str, Callable[[Job], None]], options: argparse.Namespace) -> int:
    """Run the parts of a preparation that its options ask for and return the exit code.

    A part whose files are missing does not stop the others; its files are listed at the end, and
    the exit code is 1.

    Args:
        parts: functions by name, in order.
        options: of `add_options`.
    """
    job = Job(options.source, options.output, options.workers, options.splits)
    failures = []
    for name in options.parts:
        try:
            parts[name](job)
        except MissingFilesError as error:
            failures.append(f"{name}: {error}")
    for failure in failures:
        logger.error("%s", failure)
    return 1 if failures else 0


def parallel_map(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> list[Result]:
    """Results of `work` in the order of `items`, with a progress bar; `work` must be picklable.

    An exception in a worker process stops the whole map and is raised here.
    """
    if workers <= 1 or len(items) < 2:
        return [work(item) for item in tqdm(items, desc=title)]
    with multiprocessing.Pool(min(workers, len(items))) as pool:
        results: Any = pool.imap(work, items, chunksize=max(1, min(64, len(items) // workers // 4)))
        return list(tqdm(results, total=len(items), desc=title))


def is_fresh(target: Path, source: Path) -> bool:
    """True if `target` exists and is not older than `source`, so a rerun may skip it."""
    return target.is_file() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def copy_if_changed(source: Path, target: Path) -> None:
    """Copy a file unless the target is fresh or the same file."""
    if is_fresh(target, source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as content:
        write_atomically(target, lambda file: shutil.copyfileobj(content, file))
