"""Photos in which several people have drawn boundaries, by which edges are judged.

Shapes: A annotators, H W photo size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from freeseg.data.annotation_files import read_picture
from freeseg.data.datasets.catalog import Records, register
from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.label_table import one_channel
from freeseg.data.matlab import read_matlab
from freeseg.data.problems import Problems
from freeseg.images import IMAGE_SUFFIXES

BOUNDARIES_KEY = "boundaries_file_name"  # of a record: a .mat file of BSDS500, or a packed PNG
EDGES = "edges"  # evaluator_type
HINT = "see edges under 'Datasets' in the documentation"


@dataclass(frozen=True)
class EdgeFiles:
    """Where a set lies: photos, and boundaries under their names without suffix."""

    photo_root: Path
    boundary_root: Path
    suffix: str  # of the boundaries


def register_edges(root: Path) -> None:
    """Register the sets under `root`/edges: bsds500_{train,val,test} and bsds_packed."""
    bsds500, packed = root / "edges/BSDS500", root / "edges/BSDS"
    sets = {
        f"bsds500_{split}": EdgeFiles(
            bsds500 / "images" / split, bsds500 / "groundTruth" / split, ".mat"
        )
        for split in ("train", "val", "test")
    }
    sets["bsds_packed"] = EdgeFiles(packed / "images", packed / "boundaries", ".png")
    for name, files in sets.items():
        _register(name, files)


def _register(name: str, files: EdgeFiles) -> None:
    values = {
        "image_root": str(files.photo_root),
        "boundary_root": str(files.boundary_root),
        "evaluator_type": EDGES,
    }
    register(name, lambda problems: load_edges(files, problems), values)


def load_edges(files: EdgeFiles, problems: Problems) -> Records:
    """Records of the photos of a set; boundaries are read when they are used.

    Args:
        files: Of the set.
        problems: Gets a line for every photo without boundaries.

    Raises:
        MissingDataError: The set is not here.
    """
    root = files.photo_root
    photos = sorted(root.iterdir()) if root.is_dir() else []
    photos = [photo for photo in photos if photo.suffix.lower() in IMAGE_SUFFIXES]
    if not photos:
        raise MissingDataError(f"{root} has no photos; {HINT}")
    records: Records = []
    for photo in photos:
        boundaries = files.boundary_root / f"{photo.stem}{files.suffix}"
        if not boundaries.is_file():
            problems.error("boundaries", f"{photo} has no boundaries {boundaries}")
            continue
        record = {"file_name": str(photo), "image_id": photo.stem, BOUNDARIES_KEY: str(boundaries)}
        records.append(record)
    return records


def read_boundaries(record: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Bool [A, H, W]: what each annotator of a record's photo has drawn.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is of another kind, or nobody has drawn anything; names it.
    """
    file = Path(record[BOUNDARIES_KEY])
    drawn = _of_matlab(file) if file.suffix == ".mat" else _of_bits(file)
    drawn = drawn[drawn.any((1, 2))]
    if not len(drawn):
        raise ValueError(f"{file} has no boundary")
    return drawn


def _of_matlab(file: Path) -> npt.NDArray[np.bool_]:
    """Of BSDS500: a cell for every annotator, with his segments and their boundaries."""
    people = np.atleast_1d(read_matlab(file, "groundTruth"))
    try:
        return np.stack([np.asarray(one["Boundaries"], dtype=np.bool_) for one in people])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: every cell of groundTruth needs Boundaries") from error


def _of_bits(file: Path) -> npt.NDArray[np.bool_]:
    """Of one picture in which bit k of a pixel is set where annotator k has drawn."""
    values = one_channel(read_picture(str(file)))
    if values is None or values.dtype.kind != "u":
        raise ValueError(f"{file} must be a PNG of one channel, a bit for every annotator")
    bits = np.arange(8 * values.dtype.itemsize, dtype=values.dtype)
    return (values >> bits[:, None, None]) % 2 == 1
