"""Where the files of the benchmarks lie: the folders of the common protocol, under one root.

    VOC2012/{JPEGImages,SegmentationClassAug,ImageSets/Segmentation/val.txt}
    COCO2014/{train2014,val2014,annotations/{train2014,val2014}}
    FSS-1000/CLASS/{1..10}.{jpg,png}
    CLASS/NAME.{jpg,png}                                                   a folder of one's own
    splits/pascal/val/fold{0..3}.txt, splits/coco/val/fold{0..3}.pkl       the protocol's own lists

The lists say which images are queries. Without them, every val image is that shows the class.
Shapes: H W image size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from freeseg.checkpoints.reading import read_content
from freeseg.data.datasets.json_rows import require_file
from freeseg.data.few_shot.benchmark import FOLDER, Benchmark
from freeseg.data.few_shot.episodes import Example

VOID = 255  # in masks: a pixel that is not judged
HINT = "see 'Few-shot benchmarks' under 'Datasets' in the documentation"
GREY_FOREGROUND = 128  # least value of foreground in FSS-1000's masks

Mask = npt.NDArray[np.uint8]


def find_examples(benchmark: Benchmark, root: str | Path, fold: str) -> list[Example]:
    """All images of a fold's classes, in the order of the protocol's lists where these exist.

    Raises:
        FileNotFoundError: When files are missing; the message says which.
        ValueError: On a list of something else, or of another fold's classes.
    """
    return _FINDERS[benchmark.layout](benchmark, Path(root).expanduser(), fold)


def read_mask(benchmark: Benchmark, example: Example) -> Mask:
    """Mask [H, W] of an example: 1 for its class, 0 for all else, `VOID` where nobody knows."""
    require_file(example.mask, HINT)
    with Image.open(example.mask) as image:
        if benchmark.layout == "fss":
            return (np.asarray(image.convert("L")) >= GREY_FOREGROUND).astype(np.uint8)
        if benchmark.layout == FOLDER:
            return _own_mask(image)
        labels = np.asarray(image)
    mask = (labels == example.class_id + 1).astype(np.uint8)
    if benchmark.layout == "voc":
        mask[labels == VOID] = VOID
    return mask


def _find_voc(benchmark: Benchmark, root: Path, fold: str) -> list[Example]:
    folder = root / "VOC2012"

    def example(name: str, class_id: int) -> Example:
        mask = folder / "SegmentationClassAug" / f"{name}.png"
        return Example(folder / "JPEGImages" / f"{name}.jpg", mask, class_id)

    classes = benchmark.fold(fold)
    listed = root / "splits" / "pascal" / "val" / f"fold{fold}.txt"
    if listed.is_file():
        rows = listed.read_text(encoding="utf-8").split()
        return [example(*_listed(row, classes, listed)) for row in rows]
    names = folder / "ImageSets" / "Segmentation" / "val.txt"
    require_file(names, HINT)
    return [
        example(name, class_id)
        for name in names.read_text(encoding="utf-8").split()
        for class_id in _classes_in(example(name, 0).mask, classes)
    ]


def _find_coco(benchmark: Benchmark, root: Path, fold: str) -> list[Example]:
    folder = root / "COCO2014"

    def example(name: str, class_id: int) -> Example:
        mask = (folder / "annotations" / name).with_suffix(".png")
        return Example(folder / name, mask, class_id)

    classes = benchmark.fold(fold)
    listed = root / "splits" / "coco" / "val" / f"fold{fold}.pkl"
    if listed.is_file():
        names_of = _read_lists(listed)
        return [example(name, each) for each in classes for name in names_of.get(each, ())]
    masks = sorted((folder / "annotations" / "val2014").glob("*.png"))
    if not masks:
        raise FileNotFoundError(f"no masks in {folder / 'annotations' / 'val2014'}; {HINT}")
    found = [
        example(f"val2014/{mask.stem}.jpg", class_id)
        for mask in masks
        for class_id in _classes_in(mask, classes)
    ]
    return sorted(found, key=lambda each: (each.class_id, each.image))


def _own_mask(image: Image.Image) -> Mask:
    """Of 0, 1 and `VOID`, or of black and white in any mode."""
    labels = np.asarray(image if image.mode in ("1", "L", "P") else image.convert("L"))
    if set(np.unique(labels).tolist()) <= {0, 1, VOID} and (labels == 1).any():
        return labels.astype(np.uint8)
    return (np.asarray(image.convert("L")) >= GREY_FOREGROUND).astype(np.uint8)


def _find_fss(benchmark: Benchmark, root: Path, fold: str) -> list[Example]:
    folder = root if benchmark.layout == FOLDER else root / "FSS-1000"
    found = []
    for class_id in benchmark.fold(fold):
        of_class = folder / benchmark.classes[class_id]
        images = sorted(path for path in of_class.glob("*") if path.suffix.lower() == ".jpg")
        if not images:
            raise FileNotFoundError(f"no images in {of_class}; {HINT}")
        found += [Example(image, image.with_suffix(".png"), class_id) for image in images]
    return found


_FINDERS: Mapping[str, Callable[[Benchmark, Path, str], list[Example]]] = {
    "voc": _find_voc,
    "coco": _find_coco,
    "fss": _find_fss,
    FOLDER: _find_fss,
}


def _classes_in(mask: Path, classes: Sequence[int]) -> list[int]:
    require_file(mask, HINT)
    with Image.open(mask) as image:
        present = set(np.unique(np.asarray(image)).tolist())
    return [class_id for class_id in classes if class_id + 1 in present]


def _listed(row: str, classes: Sequence[int], path: Path) -> tuple[str, int]:
    """Name and class of "NAME__NUMBER", as the protocol writes it; it numbers classes from 1."""
    name, _, number = row.rpartition("__")
    if not (name and number.isdecimal() and int(number) - 1 in classes):
        wanted = ", ".join(str(class_id + 1) for class_id in classes)
        raise ValueError(f"{path}: wanted NAME__NUMBER, NUMBER one of {wanted}; got {row!r}")
    return name, int(number) - 1


def _read_lists(path: Path) -> Mapping[int, Sequence[str]]:
    """The protocol's pickle {class: image names}; nothing in it is executed."""
    content = read_content(path)
    if not isinstance(content, Mapping) or not all(
        isinstance(number, int) and isinstance(names, (list, tuple))
        for number, names in content.items()
    ):
        raise ValueError(f"{path}: wanted a pickle of {{class number: list of image names}}")
    return {class_id: [str(name) for name in names] for class_id, names in content.items()}
