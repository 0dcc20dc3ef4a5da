"""What is to be segmented, as a file that is read piece by piece: no list is held in memory."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from freeseg.files import write_atomically, write_bytes
from freeseg.images import IMAGE_SUFFIXES

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")


class Manifest:
    """Names of photos or shards, one a line, in pieces of `chunk_size` lines.

    It is written once; a run that goes on after a kill reads the same names in the same order,
    whatever has happened to the folder meanwhile.
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder is where the manifest lies."""
        self._names = folder / "manifest.jsonl"
        self._offsets = folder / "manifest.offsets"  # int64: where each piece begins, and the end

    @property
    def exists(self) -> bool:
        return self._offsets.is_file()  # is written last

    @property
    def num_chunks(self) -> int:
        return self._offsets.stat().st_size // 8 - 1

    def write(self, names: Iterable[str], chunk_size: int) -> None:
        """Writes the names, in their order.

        Raises:
            ValueError: When there are none.
        """
        offsets = array("q", [0])

        def lines(file: object) -> None:
            place = count = 0
            for count, name in enumerate(names, start=1):
                line = json.dumps(name).encode() + b"\n"
                file.write(line)  # type: ignore[attr-defined]
                place += len(line)
                if count % chunk_size == 0:
                    offsets.append(place)
            if count % chunk_size:
                offsets.append(place)
            if not count:
                raise ValueError("there is nothing to segment: no photos and no shards were found")

        write_atomically(self._names, lines)
        write_bytes(self._offsets, offsets.tobytes())

    def read(self, chunk: int) -> list[str]:
        """The names of one piece."""
        with self._offsets.open("rb") as file:
            file.seek(8 * chunk)
            start, stop = array("q", file.read(16))
        with self._names.open("rb") as file:
            file.seek(start)
            return [json.loads(line) for line in file.read(stop - start).splitlines()]


def find_names(sources: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Photos and shards: of folders those in them and below, of .txt files one a line."""
    for source in sources:
        path = Path(source)
        if path.is_dir():
            yield from _below(path)
        elif path.suffix == ".txt":
            with path.open(encoding="utf-8") as lines:
                yield from (line.rstrip("\r\n") for line in lines if line.strip())
        else:
            yield str(path)


def check_sources(sources: Iterable[str | os.PathLike[str]]) -> None:
    """Refuses what is no name of a photo and is not there, as a folder with a typing error.

    Raises:
        ValueError: There is no such file or folder.
    """
    for source in sources:
        is_photo = Path(source).suffix.lower() in IMAGE_SUFFIXES  # its record says that it is gone
        if not is_photo and not os.path.exists(source):
            raise ValueError(f"{source}: no such file or folder")


def is_shard(name: str) -> bool:
    """Whether a name is that of a tar file."""
    return name.lower().endswith(SHARD_SUFFIXES)


def _below(folder: Path) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES or is_shard(name):
                yield os.path.join(root, name)
