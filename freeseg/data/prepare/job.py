"""What every dataset preparation shares: the command line, file checks, and parallel work."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable, TypeVar

from tqdm import tqdm

from freeseg.data.datasets.roots import datasets_root

Item = TypeVar("Item")
Result = TypeVar("Result")

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


def run(
    prepare: Callable[[argparse.Namespace], None],
    description: str,
    folder: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse the usual options, run a preparation, and return the exit code (1: files missing)."""
    default = datasets_root() / folder
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--source", type=Path, default=default, help="folder of the original files")
    parser.add_argument(
        "--output", type=Path, default=None, help="folder to write into (default: the source)"
    )
    parser.add_argument(
        "--workers", type=int, default=min(os.cpu_count() or 1, 8), help="number of processes"
    )
    options = parser.parse_args(arguments)
    options.output = options.output or options.source
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        prepare(options)
    except MissingFilesError as error:
        logger.error("%s", error)
        return 1
    return 0


def parallel_map(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> list[Result]:
    """Results of `work` in the order of `items`, with a progress bar; `work` must be picklable.

    An exception in a worker process stops the whole map and is raised here.
    """
    if workers <= 1 or len(items) < 2:
        return [work(item) for item in tqdm(items, desc=title)]
    # spawn, not fork: the parent may hold threads (OpenCV, torch) that a fork would copy locked
    with multiprocessing.get_context("spawn").Pool(min(workers, len(items))) as pool:
        results: Any = pool.imap(work, items, chunksize=max(1, min(64, len(items) // workers // 4)))
        return list(tqdm(results, total=len(items), desc=title))


def copy_if_changed(source: Path, target: Path) -> None:
    """Copy a file unless the target is the same file or has its size already."""
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.copyfile(source, partial)
    os.replace(partial, target)
