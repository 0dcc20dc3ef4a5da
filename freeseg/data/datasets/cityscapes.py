"""Cityscapes fine: panoptic and semantic with 19 classes, instances with the 8 things.

Cityscapes keeps images in one folder per city, which its panoptic JSON does not mention. Detectron2
registers the same names; they are replaced so that the metadata has the form of all other sets here
(stuff_classes all 19, thing_classes the 8 things), and so that loading needs no cityscapesscripts:
instances are the things of the panoptic annotation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.data.categories import Category, load_categories, metadata
from freeseg.data.datasets.catalog import (
    IGNORE_LABEL,
    PanopticFiles,
    Records,
    load_panoptic,
    register,
    register_panoptic,
)
from freeseg.data.datasets.json_rows import require_file
from freeseg.data.problems import Problems

HINT = "see Cityscapes under 'Datasets' in the documentation, and run `freeseg prepare cityscapes`"


@dataclass(frozen=True)
class CityscapesFiles(PanopticFiles):
    """Panoptic files whose images and semantic PNGs lie in folders of cities."""

    def photo_name(self, row: Mapping[str, Any], image: Mapping[str, Any]) -> str:
        return f"{_city(row['image_id'])}/{row['image_id']}_leftImg8bit.png"

    def sem_seg_file(self, row: Mapping[str, Any]) -> Path | None:
        if self.sem_seg_root is None:
            return None
        name = f"{row['image_id']}_gtFine_labelTrainIds.png"
        return self.sem_seg_root / _city(row["image_id"]) / name


def register_cityscapes(root: Path) -> None:
    """Register cityscapes_fine_{panoptic,sem_seg,instance_seg}_{train,val}, `root`/cityscapes."""
    folder = root / "cityscapes"
    categories = load_categories("cityscapes")
    for split in ("train", "val"):
        files = CityscapesFiles(
            image_root=folder / "leftImg8bit" / split,
            panoptic_root=folder / "gtFine" / f"cityscapes_panoptic_{split}",
            panoptic_json=folder / "gtFine" / f"cityscapes_panoptic_{split}.json",
            sem_seg_root=folder / "gtFine" / split,
            hint=HINT,
        )
        register_panoptic(
            f"cityscapes_fine_panoptic_{split}",
            files,
            categories,
            "cityscapes_panoptic_seg",
            gt_dir=str(folder / "gtFine" / split),
        )
        _register(
            f"cityscapes_fine_sem_seg_{split}",
            files,
            "cityscapes_sem_seg",
            categories,
            _load_semantic,
        )
        _register(
            f"cityscapes_fine_instance_seg_{split}",
            files,
            "cityscapes_instance",
            [row for row in categories if row.is_thing],
            _load_instances,
        )


def _register(
    name: str,
    files: CityscapesFiles,
    evaluator_type: str,
    categories: Sequence[Category],
    load: Callable[[CityscapesFiles, Problems], Records],
) -> None:
    values = {
        "image_dir": str(files.image_root),
        "gt_dir": str(files.sem_seg_root),
        "evaluator_type": evaluator_type,
        "ignore_label": IGNORE_LABEL,
        **metadata(categories),
    }
    register(name, lambda problems: load(files, problems), values)


def _load_instances(files: CityscapesFiles, problems: Problems) -> Records:
    """Panoptic records without stuff, classes counted from the first thing."""
    categories = load_categories("cityscapes")
    first_thing = [row.is_thing for row in categories].index(True)  # things are the last classes
    files = dataclasses.replace(files, sem_seg_root=None)
    records = load_panoptic(files, categories, problems)
    for record in records:
        record["segments_info"] = [
            {**row, "category_id": row["category_id"] - first_thing}
            for row in record["segments_info"]
            if row["isthing"]
        ]
    return records


def _load_semantic(files: CityscapesFiles, _: Problems) -> Records:
    suffix = "_leftImg8bit.png"
    records = []
    for image in sorted(files.image_root.glob(f"*/*{suffix}")):
        row = {"image_id": image.name[: -len(suffix)]}
        records.append(
            {
                "file_name": str(image),
                "sem_seg_file_name": str(files.sem_seg_file(row)),
                "image_id": row["image_id"],
            }
        )
    if not records:
        raise FileNotFoundError(f"no images in {files.image_root}; {files.hint}")
    require_file(records[0]["sem_seg_file_name"], files.hint)
    return records


def _city(image_id: str) -> str:
    return image_id.split("_")[0]
