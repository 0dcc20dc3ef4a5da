"""Output files, each with the results of one piece of the input, complete or not there at all."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from freeseg.files import naming, partial_path, publish

FORMATS = ("jsonl", "webdataset")

Record = dict[str, Any]


def part_path(folder: Path, chunk: int, form: str) -> Path:
    """The file that holds a piece's results."""
    return folder / f"part-{chunk:08d}.{'jsonl' if form == 'jsonl' else 'tar'}"


class PartWriter:
    """Writes records one by one; the file gets its name when it is closed, complete, on disk.

    The name until then is no other process's: one that a kill has orphaned may still write.
    """

    def __init__(self, path: Path) -> None:
        """Args: path ends with .jsonl or .tar."""
        self._path = path
        self._partial = partial_path(path)
        self._file = self._partial.open("wb")
        self._archive = (
            tarfile.open(fileobj=self._file, mode="w") if path.suffix == ".tar" else None  # noqa: SIM115
        )

    def write(self, key: str, record: Record) -> None:
        """Adds a record: a line, or a sample of a WebDataset shard with the photo's bytes."""
        photo = record.pop("bytes", None)
        content = json.dumps(record).encode()
        with naming(self._path):
            if self._archive is None:
                self._file.write(content + b"\n")
                return
            self._add(f"{key}.json", content)
            if photo is not None:
                self._add(f"{key}.{record['image']['file_name'].rpartition('.')[2].lower()}", photo)

    def _add(self, name: str, content: bytes) -> None:
        assert self._archive is not None
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._archive.addfile(member, io.BytesIO(content))

    def close(self) -> None:
        """Gives the file its name, or removes it."""
        try:
            with naming(self._path):
                if self._archive is not None:
                    self._archive.close()
                self._file.close()
                publish(self._partial, self._path)
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Removes what was written."""
        with contextlib.suppress(OSError):  # of a disk that is full; the first error is told
            self._file.close()
        self._partial.unlink(missing_ok=True)


def read_part(path: Path) -> Iterator[Record]:
    """The records of a part."""
    if path.suffix == ".jsonl":
        with path.open("rb") as lines:
            yield from map(json.loads, lines)
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith(".json"):
                file = archive.extractfile(member)
                assert file is not None
                yield json.load(file)
