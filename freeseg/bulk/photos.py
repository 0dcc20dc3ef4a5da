"""The photos behind names: files as they are, tar shards opened up one photo at a time."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from freeseg.bulk.manifest import is_shard
from freeseg.images import IMAGE_SUFFIXES, LoadedSource


@dataclass(frozen=True)
class Photo:
    """One photo, or the reason why there is none.

    Attributes:
        name: Path of a file, or "SHARD/MEMBER".
        content: A path or the bytes of an image; None when it cannot be had.
        error: Why not.
    """

    name: str
    content: str | bytes | None
    error: str = ""

    @property
    def source(self) -> str | LoadedSource:
        """What to segment; bytes have the photo's name, as messages call it."""
        content = self.content or b""
        return content if isinstance(content, str) else LoadedSource(self.name, content)

    def read(self) -> bytes:
        """The bytes of the image file."""
        content = self.content or b""
        return content if isinstance(content, bytes) else Path(content).read_bytes()


def photos_of(names: Iterable[str]) -> Iterator[Photo]:
    """All photos of files and shards, in order; what is broken is an error among them."""
    for name in names:
        if is_shard(name):
            yield from _photos_in(name)
        else:
            yield Photo(name, name)


def _open(shard: str) -> IO[bytes]:
    if shard.lower().endswith("gz"):
        return gzip.open(shard)  # type: ignore[return-value]
    return open(shard, "rb")


def _photos_in(shard: str) -> Iterator[Photo]:
    try:
        with _open(shard) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for member in archive:  # a stream: one member is in memory
                if member.isfile() and Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    file = archive.extractfile(member)
                    assert file is not None
                    yield Photo(f"{shard}/{member.name}", file.read())
            while content.read(1 << 20):
                pass
            if content.tell() < archive.offset + tarfile.BLOCKSIZE:  # tarfile would not say so
                raise EOFError("it has no end mark")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Photo(shard, None, f"{shard}: is no tar file, or was cut off: {reason}")
