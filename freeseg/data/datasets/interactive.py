"""Sets of photos with an object or several each, by which clicks are judged.

They have no classes: every object is an "object". Records are Detectron2's with annotations, and
with the pixels that nobody judges, if there are any.

Shapes: N objects, H W photo size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_codec

from detectron2.structures import BoxMode
from freeseg.data.annotation_files import read_picture
from freeseg.data.categories import Category, metadata
from freeseg.data.coco_writer import encode_rle
from freeseg.data.datasets.catalog import IGNORED_PIXELS_KEY, Records, register
from freeseg.data.datasets.json_rows import MissingDataError, require_file
from freeseg.data.label_table import one_channel
from freeseg.data.matlab import read_matlab
from freeseg.data.problems import Problems
from freeseg.image_headers import read_header
from freeseg.images import IMAGE_SUFFIXES

OBJECT = Category(1, "object", is_thing=True, color=(220, 20, 60))
HINT = "see interactive segmentation under 'Datasets' in the documentation"

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ObjectMasks:
    """What the file of a photo's masks says.

    Attributes:
        objects: Bool [H, W] of each.
        ignored: Bool [H, W], pixels that are not judged.
    """

    objects: list[Mask]
    ignored: Mask


@dataclass(frozen=True)
class ObjectFiles:
    """Where a set lies: photos, and files of masks under their names without suffix.

    Attributes:
        photo_root: Folder of the photos.
        mask_root: Folder of the masks.
        read: A file of masks; raises ValueError where it has a value that means nothing.
        list_file: Text file with the names that belong to the set; None: all photos do.
    """

    photo_root: Path
    mask_root: Path
    read: Callable[[Path], ObjectMasks]
    list_file: Path | None = None

    def names(self) -> list[str]:
        """Names without suffix, in a fixed order.

        Raises:
            MissingDataError: The set is not here.
        """
        if not self.photo_root.is_dir():
            raise MissingDataError(f"{self.photo_root} does not exist; {HINT}")
        if self.list_file is None:
            return sorted(_by_stem(self.photo_root, IMAGE_SUFFIXES))
        require_file(self.list_file, HINT)
        return self.list_file.read_text(encoding="utf-8").split()


def register_interactive(root: Path) -> None:
    """Register the sets under `root`/interactive.

    They are grabcut, berkeley_interactive, davis_interactive, sbd_{train,val}_interactive and
    gsc_interactive.
    """
    folder = root / "interactive"
    grabcut, berkeley, davis = (folder / each for each in ("GrabCut", "Berkeley", "DAVIS"))
    sbd, gsc = folder / "SBD", folder / "GSC"
    sets = {
        "grabcut": ObjectFiles(grabcut / "data_GT", grabcut / "boundary_GT", read_trimap),
        "berkeley_interactive": ObjectFiles(berkeley / "images", berkeley / "masks", read_trimap),
        "davis_interactive": ObjectFiles(davis / "img", davis / "gt", read_colors),
        "gsc_interactive": ObjectFiles(gsc / "images", gsc / "masks", read_labels),
    }
    for split in ("train", "val"):
        sets[f"sbd_{split}_interactive"] = ObjectFiles(
            sbd / "img", sbd / "inst", read_instances, sbd / f"{split}.txt"
        )
    for name, files in sets.items():
        _register(name, files)


def _register(name: str, files: ObjectFiles) -> None:
    values = {
        "image_root": str(files.photo_root),
        "mask_root": str(files.mask_root),
        "evaluator_type": "coco",
        **metadata([OBJECT]),
    }
    register(name, lambda problems: load_objects(files, problems), values)


def load_objects(files: ObjectFiles, problems: Problems) -> Records:
    """Records of all photos of a set that have masks without a fault.

    Args:
        files: Of the set.
        problems: Gets a line for every photo or mask that is missing or wrong.

    Raises:
        MissingDataError: The set is not here.
    """
    names = files.names()
    photos = _by_stem(files.photo_root, IMAGE_SUFFIXES)
    masks = _by_stem(files.mask_root, IMAGE_SUFFIXES | {".mat"})
    records: Records = []
    collecting = problems.collecting("masks")
    for name in names:
        with collecting:
            if name not in photos:
                raise ValueError(f"{files.list_file} lists {name}: no photo in {files.photo_root}")
            if name not in masks:
                raise ValueError(f"{photos[name]} has no mask {name} in {files.mask_root}")
            records.append(_record(name, photos[name], masks[name], files.read))
    without = sorted(set(masks) - set(photos))
    if without:
        problems.warn(
            "masks without a photo",
            f"{files.mask_root}: {len(without)} masks have no photo in {files.photo_root}, such as "
            f"{masks[without[0]].name}: they are not used",
        )
    if not records and not problems.errors:
        raise MissingDataError(f"{files.photo_root} has no photos; {HINT}")
    return records


def _record(
    name: str, photo: Path, file: Path, read: Callable[[Path], ObjectMasks]
) -> dict[str, Any]:
    """The record of a photo.

    Raises:
        ValueError: Its masks are of another size, mean nothing, or are empty; names the file.
        OSError: They cannot be read.
    """
    masks = read(file)
    height, width = masks.ignored.shape
    header = read_header(photo)
    if header is not None and (height, width) not in (header.upright_size, header.stored_size):
        own = header.upright_size
        raise ValueError(
            f"{file} is {width}x{height} pixels, its photo {photo.name} is {own[1]}x{own[0]}"
        )
    if not masks.objects or not all(mask.any() for mask in masks.objects):
        raise ValueError(f"{file} has no pixel of an object")
    record = {
        "file_name": str(photo),
        "image_id": name,
        "height": height,
        "width": width,
        "annotations": [_annotation(mask) for mask in masks.objects],
    }
    if masks.ignored.any():
        record[IGNORED_PIXELS_KEY] = encode_rle(masks.ignored)
    return record


def _annotation(mask: Mask) -> dict[str, Any]:
    runs = encode_rle(mask)
    return {
        "category_id": 0,
        "iscrowd": 0,
        "segmentation": runs,
        "bbox": [float(side) for side in rle_codec.toBbox(runs)],
        "bbox_mode": BoxMode.XYWH_ABS,
    }


def read_trimap(file: Path) -> ObjectMasks:
    """GrabCut's and Berkeley's masks: one object above 128, which itself is not judged.

    Raises:
        ValueError: There are other values than 0 below 128.
    """
    values = read_picture(str(file), "RGB")[..., 0]
    _refuse_unknown(file, values[(values > 0) & (values < 128)], "0, 128 and above")
    return ObjectMasks([values > 128], values == 128)


def read_colors(file: Path) -> ObjectMasks:
    """DAVIS's masks: one object, of any colour but black."""
    mask = np.asarray(read_picture(str(file), "RGB").any(-1), dtype=np.bool_)
    return ObjectMasks([mask], np.zeros_like(mask))


def read_labels(file: Path) -> ObjectMasks:
    """Masks of the geodesic star set: one object of 1, and 255 is not judged.

    Raises:
        ValueError: There are other values than these and 0, or colours.
    """
    values = one_channel(read_picture(str(file)))
    if values is None:
        raise ValueError(f"{file} has colours, wanted one number per pixel")
    _refuse_unknown(file, values[~np.isin(values, (0, 1, 255))], "0, 1 and 255")
    return ObjectMasks([values == 1], values == 255)


def read_instances(file: Path) -> ObjectMasks:
    """SBD's instances: numbers from 1 in a file of MATLAB, with a category for each.

    Raises:
        ValueError: It is no such file, or has a number without category.
    """
    content = read_matlab(file, "GTinst")
    if not isinstance(content, dict) or not {"Segmentation", "Categories"} <= set(content):
        raise ValueError(f"{file}: GTinst needs Segmentation and Categories")
    numbers, count = np.asarray(content["Segmentation"]), np.size(content["Categories"])
    _refuse_unknown(file, numbers[numbers > count], f"0 to {count}, its categories")
    present = np.unique(numbers)
    objects = [numbers == number for number in present[present > 0]]
    return ObjectMasks(objects, np.zeros(numbers.shape, dtype=np.bool_))


def _refuse_unknown(file: Path, values: npt.NDArray[Any], known: str) -> None:
    if values.size:
        found = ", ".join(str(value) for value in np.unique(values)[:5])
        raise ValueError(f"{file} has the values {found}, wanted {known}")


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """Files of a folder by their names without suffix."""
    return dict(_stems(folder, suffixes)) if folder.is_dir() else {}


def _stems(folder: Path, suffixes: frozenset[str]) -> Iterator[tuple[str, Path]]:
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if path.suffix.lower() in suffixes:
            yield path.stem, path
