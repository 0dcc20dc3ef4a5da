"""Annotation files made of the parts of a job, one record in memory at a time."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from freeseg.bulk.parts import read_part
from freeseg.files import write_atomically
from freeseg.labelling.records import categories_file
from freeseg.visualization.annotations import INSTANCES_FILE, PANOPTIC_FILE
from freeseg_command import __version__

Json = dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """A labelled data set: where it lies, and what it is made of.

    Attributes:
        folder: Of the annotation files.
        parts: Of the job, in order.
        left_out: Photos, as the data set names them, that it is to be without.
    """

    folder: Path
    parts: Sequence[Path]
    left_out: Collection[str] = ()

    @property
    def categories(self) -> list[Json]:
        """COCO's rows of the classes."""
        rows: list[Json] = json.loads(categories_file(self.folder).read_text(encoding="utf-8"))
        return rows

    def records(self) -> Iterator[Json]:
        """What is kept of every photo that could be segmented, in the order of the job."""
        for part in self.parts:
            if part.is_file():
                yield from (record for record in read_part(part) if "error" not in record)

    def unknown(self) -> set[str]:
        """What is to be left out and is no photo that was labelled."""
        rest = set(self.left_out)
        if rest:
            rest.difference_update(record["image"]["file_name"] for record in self.records())
        return rest

    def write(self, provenance: Json, *, panoptic: bool) -> list[Path]:
        """Writes the annotation files; returns their paths.

        Args:
            provenance: How the labels came to be, which the files say.
            panoptic: Whether the records have segments.
        """
        info = {
            "description": "labels of a model, not of people",
            "version": f"freeseg {__version__}",
            "date_created": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
            "provenance": provenance,
        }
        things = [row for row in self.categories if row["isthing"]]
        paths = [self.folder / INSTANCES_FILE]
        self._write(paths[0], info, self._instances(), things)
        if panoptic:
            paths.append(self.folder / PANOPTIC_FILE)
            self._write(paths[1], info, self._segments(), self.categories)
        return paths

    def _kept(self) -> Iterator[tuple[int, Json]]:
        """Records of photos that are not left out, numbered from 1."""
        kept = (each for each in self.records() if each["image"]["file_name"] not in self.left_out)
        return enumerate(kept, start=1)

    def _instances(self) -> Iterator[Json]:
        numbers = itertools.count(1)
        for image_id, record in self._kept():
            for row in record["instances"]:
                yield {"id": next(numbers), "image_id": image_id, **row}

    def _segments(self) -> Iterator[Json]:
        for image_id, record in self._kept():
            name = record["image"]["file_name"]
            yield {
                "image_id": image_id,
                "file_name": f"{name.lstrip('/')}.png",
                "segments_info": record["segments"],
            }

    def _write(
        self, path: Path, info: Json, annotations: Iterable[Json], categories: list[Json]
    ) -> None:
        images = ({**record["image"], "id": number} for number, record in self._kept())

        def write(file: IO[bytes]) -> None:
            file.write(f'{{"info": {json.dumps(info)},\n"images": ['.encode())
            _write_rows(file, images)
            file.write(b'],\n"annotations": [')
            _write_rows(file, annotations)
            file.write(f'],\n"categories": {json.dumps(categories)}}}\n'.encode())

        write_atomically(path, write)


def left_out_names(path: Path) -> frozenset[str]:
    """Names of photos, one a line, as the review pages write them; see `line_of`.

    Raises:
        ValueError: It cannot be read, or is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no list of names in UTF-8: {error}") from error
    return frozenset(_name_in(line.strip()) for line in lines if line.strip())


def line_of(name: str) -> str:
    """A photo's name as one line of text: those that are none or begin with a quote as JSON."""
    is_line = name.isprintable() and name == name.strip() and not name.startswith('"')
    return name if is_line else json.dumps(name)


def _name_in(line: str) -> str:
    try:
        return str(json.loads(line)) if line.startswith('"') else line
    except ValueError:
        return line


def _write_rows(file: IO[bytes], rows: Iterable[Json]) -> None:
    for number, row in enumerate(rows):
        file.write((",\n" if number else "\n").encode() + json.dumps(row).encode())
