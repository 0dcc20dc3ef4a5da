"""What is found out about the files of a dataset, remembered until a file changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.concurrent import thread_map

from freeseg.files import write_text
from freeseg_command.cache import cache_root

_THREADS = 8  # that wait for the disk
_MEMORIES = 256  # that are kept, the latest
_VERSION = 2  # of what is remembered; raise it when facts change their form

Fact = dict[str, Any]


def facts_of(
    paths: Sequence[str], look: Callable[[str], Fact], kind: str, progress: str
) -> dict[str, Fact]:
    """What `look` finds out about files, as JSON can hold it.

    A file that has the size and the time of its last change that it had when it was looked at is
    not looked at again.

    Args:
        paths: Of the files; those that are not there have no facts.
        look: Called in several threads.
        kind: Of the facts; with the files' folder the name of what is remembered.
        progress: What a progress bar says.
    """
    memory = _memory_of(paths, kind)
    known = _read(memory)
    stamps = dict(zip(paths, thread_map(_stamp, paths, max_workers=_THREADS, disable=True)))
    stale = [
        path
        for path, stamp in stamps.items()
        if stamp is not None and known.get(path, [None])[0] != stamp
    ]
    if stale:
        # None: no bar where it would be written into a file
        bar = {"tqdm_class": tqdm, "desc": progress, "disable": None, "leave": False}
        for path, fact in zip(stale, thread_map(look, stale, max_workers=_THREADS, **bar)):
            known[path] = [stamps[path], fact]
        _write(memory, known)
    return {path: known[path][1] for path, stamp in stamps.items() if stamp is not None}


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]


def _memory_of(paths: Sequence[str], kind: str) -> Path:
    folders = sorted({os.path.dirname(os.path.abspath(path)) for path in paths})
    key = json.dumps([_VERSION, kind, folders])
    return cache_root() / "checked" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _read(memory: Path) -> dict[str, Any]:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):  # nothing is remembered, or not as a whole
        return {}
    return content if isinstance(content, dict) else {}


def _write(memory: Path, known: dict[str, Any]) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_text(memory, json.dumps(known))
        files = sorted(memory.parent.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-_MEMORIES]:
            file.unlink(missing_ok=True)
    except OSError:
        return  # a folder that cannot be written: the next check looks again
