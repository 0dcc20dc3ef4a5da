"""Objects that sentences mean, in the layout of RefCOCO, RefCOCO+ and RefCOCOg.

A set is a folder with COCO's instances.json and refs(AUTHOR).p, a pickled list of what is meant:
"image_id", "ann_id", "split" and "sentences", each with "sent". The same list as JSON will do.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.structures import BoxMode
from freeseg.checkpoints.plain_pickle import PlainUnpickler
from freeseg.data.datasets.catalog import Records, register
from freeseg.data.datasets.json_rows import MissingDataError, read_json
from freeseg.data.problems import Problems

REFERRED_KEY = "referred"  # of a record: objects with "bbox", xyxy, "segmentation" and "sentences"
REFERRING = "referring"  # evaluator_type
HINT = "see referring expressions under 'Datasets' in the documentation"
SETS = {
    ("refcoco", "unc"): ("train", "val", "testA", "testB"),
    ("refcoco+", "unc"): ("train", "val", "testA", "testB"),
    ("refcocog", "umd"): ("train", "val", "test"),
    ("refcocog", "google"): ("train", "val"),
}


@dataclass(frozen=True)
class ReferringFiles:
    """Where a split lies."""

    folder: Path
    author: str
    split: str
    photo_root: Path


def register_referring(root: Path) -> None:
    """Registers the sets under `root`/refer; photos are those of coco/train2014.

    They are called refcoco_unc_val, refcoco+_unc_testA, refcocog_umd_test and so on.
    """
    for (name, author), splits in SETS.items():
        for split in splits:
            files = ReferringFiles(root / "refer" / name, author, split, root / "coco/train2014")
            _register(f"{name}_{author}_{split}", files)


def _register(name: str, files: ReferringFiles) -> None:
    values = {
        "image_root": str(files.photo_root),
        "json_file": str(files.folder / "instances.json"),
        "evaluator_type": REFERRING,
    }
    register(name, lambda problems: load_referring(files, problems), values)


def load_referring(files: ReferringFiles, problems: Problems) -> Records:
    """A record for every photo of a split.

    Args:
        files: Of the split.
        problems: Gets a line for everything that is meant and not there.

    Raises:
        MissingDataError: The set is not here.
        ValueError: A file is no such list.
    """
    content = read_json(files.folder / "instances.json", HINT)
    images = {row["id"]: row for row in content["images"]}
    objects = {row["id"]: row for row in content["annotations"]}
    records: dict[Any, dict[str, Any]] = {}
    for number, ref in enumerate(_refs(files)):
        if ref.get("split") != files.split:
            continue
        image, meant = images.get(ref.get("image_id")), objects.get(ref.get("ann_id"))
        if image is None or meant is None:
            problems.error("objects", f"{files.folder}: reference {number} is of no object there")
            continue
        record = records.setdefault(
            image["id"],
            {
                "file_name": str(files.photo_root / image["file_name"]),
                "image_id": image["id"],
                "height": image["height"],
                "width": image["width"],
                REFERRED_KEY: [],
            },
        )
        record[REFERRED_KEY].append(_object(meant, ref))
    return list(records.values())


def _object(meant: Mapping[str, Any], ref: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bbox": BoxMode.convert(list(meant["bbox"]), BoxMode.XYWH_ABS, BoxMode.XYXY_ABS),
        "segmentation": meant.get("segmentation"),
        "sentences": [sentence["sent"] for sentence in ref["sentences"]],
    }


def _refs(files: ReferringFiles) -> Sequence[Mapping[str, Any]]:
    stem = f"refs({files.author})"
    pickled, plain = files.folder / f"{stem}.p", files.folder / f"{stem}.json"
    if plain.is_file():
        found = json.loads(plain.read_bytes())
    elif pickled.is_file():
        try:
            found = PlainUnpickler(io.BytesIO(pickled.read_bytes())).load()
        except (pickle.UnpicklingError, EOFError, ValueError) as error:
            raise ValueError(f"{pickled} is no list of references: {error}") from error
    else:
        raise MissingDataError(f"{pickled} does not exist; {HINT}")
    if not isinstance(found, list) or not all(isinstance(ref, Mapping) for ref in found):
        raise ValueError(f"{files.folder}: {stem} is no list of references")
    return found
