"""Panoptic PNGs of many files and the COCO JSON that lists them.

Shapes: H W image size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from freeseg.data.categories import load_categories
from freeseg.data.coco_writer import write_json, write_png
from freeseg.data.panoptic import IdMap, id2rgb
from freeseg.data.prepare.job import parallel_map

Item = TypeVar("Item")
Json = dict[str, Any]


def write_panoptic(
    json_file: Path,
    folder: Path,
    write: Callable[..., tuple[Json, Json]],
    items: Sequence[Item],
    workers: int,
    table: str,
    title: str,
) -> None:
    """Writes one PNG per item into a folder, which is made, and then the JSON of all.

    Args:
        json_file: Of the rows.
        folder: Of the PNGs.
        write: Calls `write_segments` for an item and ``output``, the folder; must be picklable.
        items: What the PNGs are made of.
        workers: Processes.
        table: Name of the categories, see `load_categories`.
        title: Of the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = parallel_map(functools.partial(write, output=folder), items, workers, title)
    content = {
        "images": [image for image, _ in found],
        "annotations": [annotation for _, annotation in found],
        "categories": [row.to_json() for row in load_categories(table)],
    }
    write_json(json_file, content)


def write_segments(
    png: Path, image_id: str, photo: str, ids: IdMap, segments: list[Json]
) -> tuple[Json, Json]:
    """Writes the ids [H, W] of a photo's segments; returns COCO's rows of image and annotation."""
    write_png(png, id2rgb(ids)[..., ::-1])
    annotation = {"image_id": image_id, "file_name": png.name, "segments_info": segments}
    return image_row(image_id, photo, ids.shape), annotation


def image_row(image_id: str, photo: str, shape: Sequence[int]) -> Json:
    """COCO's row of a photo whose labels have a shape, [H, W] or [H, W, C]."""
    return {"id": image_id, "file_name": photo, "height": shape[0], "width": shape[1]}
