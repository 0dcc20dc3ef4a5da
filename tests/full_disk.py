"""A disk without room, and what is on it."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


@contextlib.contextmanager
def full_disk(num_bytes: int):
    """Lets no file grow beyond a size: as on a full disk, a write fails midway."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    """Files under a folder but for locks and for downloads that go on where they stopped."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".lock", ".part")
    }
