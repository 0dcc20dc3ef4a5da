"""COCO files of a segmentation, and everything else that is saved of it.

Shapes: H W photo size.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from freeseg.data.panoptic import id2rgb
from freeseg.files import write_bytes
from freeseg.structures import Vocabulary
from freeseg.visualization.html import html_page
from freeseg.visualization.masks import masks_of, rle_rows
from freeseg.visualization.overlay import draw_labels, draw_overlay
from freeseg.visualization.palette import class_colors
from freeseg.visualization.photo_result import Instances, PhotoResult
from freeseg.visualization.stored_masks import segmentation_of
from freeseg_command.names import TASKS_OF_FORMAT, choose_formats

Json = dict[str, Any]

_PNG_LEVEL = 2  # of 9: a fifth larger than the usual 6 and four times as fast


def coco_content(
    result: PhotoResult, image_id: int | str, file_name: str, stem: str
) -> dict[str, Any]:
    """Returns what the tasks that were asked for look like in COCO's JSON.

    "panoptic" is a whole annotation file for one image, which names the photo `file_name` and its
    PNG `STEM_panoptic.png`; "instances" and "objects" are lists of results with run-length masks,
    as COCO's evaluator loads them.
    """
    content: dict[str, Any] = {}
    if result.panoptic is not None:
        png_name = f"{stem}_panoptic.png"
        segments = {
            "image_id": image_id,
            "file_name": png_name,
            "segments_info": segment_rows(result),
        }
        content["panoptic"] = {
            "images": [image_row(result, image_id, file_name)],
            "annotations": [segments],
            "categories": category_rows(result.vocabulary, result.category_ids),
        }
    for task, found in result.scored.items():
        content[f"{task}s"] = _result_rows(result, found, image_id)
    return content


@dataclass(frozen=True)
class _Order:
    """What is to be written about a result."""

    result: PhotoResult
    stem: str
    image_id: int | str
    min_score: float

    @cached_property
    def coco(self) -> dict[str, Any]:
        """Computed once for the files and the page."""
        file_name = self.result.file_name or f"{self.stem}.png"
        return coco_content(self.result, self.image_id, file_name, self.stem)


def save_segmentation(
    result: PhotoResult,
    folder: Path,
    stem: str,
    image_id: int | str,
    min_score: float,
    formats: str | Sequence[str] | None = None,
) -> dict[str, Path]:
    """Writes the formats that are asked for; returns the paths by what they hold."""
    formats = choose_formats(formats, result.tasks)
    folder.mkdir(parents=True, exist_ok=True)
    order = _Order(result, stem, image_id, min_score)
    paths: dict[str, Path] = {}
    for name in formats:
        for key, content in _WRITERS[name](order).items():
            if key not in paths:
                paths[key] = _write(folder, stem, key, content)
    return paths


def picture_keys(formats: Sequence[str], tasks: Sequence[str]) -> tuple[str, ...]:
    """Returns the KEYs of the files STEM_KEY.png that are written of results for some tasks."""
    mapped = [task for task in tasks if task in TASKS_OF_FORMAT["labelmap"]]
    keys = {
        "overlay": [f"{task}_overlay" for task in tasks],
        "labelmap": [f"{task}{suffix}" for task in mapped for suffix in ("", "_colors")],
        "coco": [task for task in tasks if task == "panoptic"],
    }
    return tuple(dict.fromkeys(key for name in formats for key in keys.get(name, ())))


def png_bytes(pixels: npt.NDArray[Any]) -> bytes:
    """Returns the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue()


def coco_archive(result: PhotoResult, stem: str) -> str:
    """The address of a zip with the COCO files of a result, the panoptic PNG among them."""
    return archive_address(_coco_files(_Order(result, stem, image_id=1, min_score=0.0)), stem)


def archive_address(files: dict[str, Any], stem: str) -> str:
    """Files, by what they hold, as the data: URL of one zip; "" where there are none."""
    if not files:
        return ""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in files.items():
            archive.writestr(_file_name(stem, key, content), _encoded(content))
    return f"data:application/zip;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _file_name(stem: str, key: str, content: Any) -> str:
    if isinstance(content, str):
        return f"{stem}.{key}"
    if isinstance(content, np.ndarray):
        return f"{stem}_{key}.png"
    return f"{stem}_{key.removesuffix('_json')}.json"


def _write(folder: Path, stem: str, key: str, content: Any) -> Path:
    path = folder / _file_name(stem, key, content)
    write_bytes(path, _encoded(content))
    return path


def _encoded(content: Any) -> bytes:
    if isinstance(content, np.ndarray):
        return png_bytes(content)
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def _overlays(order: _Order) -> dict[str, Any]:
    result = order.result
    return {f"{task}_overlay": draw_overlay(result, task, order.min_score) for task in result.tasks}


def _label_maps(order: _Order) -> dict[str, Any]:
    result = order.result
    maps: dict[str, Any] = {}
    if result.panoptic is not None:
        maps["panoptic"] = id2rgb(result.panoptic.segment_ids)
        maps["panoptic_colors"] = draw_labels(result, "panoptic")
    if result.semantic is not None:
        maps["semantic"] = label_map(result.semantic, len(result.vocabulary))
        maps["semantic_colors"] = draw_labels(result, "semantic")
        maps["semantic_json"] = class_numbers(result)
    return maps


def _coco_files(order: _Order) -> dict[str, Any]:
    result = order.result
    files = {f"{key}_json": annotation for key, annotation in order.coco.items()}
    if result.panoptic is not None:  # the JSON's segments are numbers in this picture
        files["panoptic"] = id2rgb(result.panoptic.segment_ids)
    return files


def _run_lengths(order: _Order) -> dict[str, Any]:
    result = order.result
    return {"rle_json": {task: rle_rows(masks_of(result, task)) for task in result.tasks}}


def _page(order: _Order) -> dict[str, Any]:
    archive = archive_address(_coco_files(order), order.stem)
    return {"html": html_page(order.result, order.stem, order.min_score, archive)}


_WRITERS: dict[str, Callable[[_Order], dict[str, Any]]] = {
    "overlay": _overlays,
    "labelmap": _label_maps,
    "coco": _coco_files,
    "rle": _run_lengths,
    "html": _page,
}


def label_map(
    labels: npt.NDArray[np.int64], num_classes: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Returns the classes [H, W] in the smallest type that leaves the highest value free.

    That value stands for pixels of no class, whatever number they have.
    """
    if num_classes > np.iinfo(np.uint16).max:
        raise ValueError(f"a label map holds at most 65535 classes, got {num_classes}")
    kind = np.uint8 if num_classes <= np.iinfo(np.uint8).max else np.uint16
    is_class = (labels >= 0) & (labels < num_classes)
    return np.where(is_class, labels, np.iinfo(kind).max).astype(kind)


def class_numbers(result: PhotoResult) -> Json:
    """Returns which number in a label map is which class, and its colour beside it."""
    categories = category_rows(result.vocabulary, result.category_ids)
    unlabelled = np.iinfo(label_map(np.empty((0, 0), np.int64), len(categories)).dtype).max
    rows = [
        {"number": number, **{key: row[key] for key in ("name", "isthing", "color")}}
        for number, row in enumerate(categories)
    ]
    return {"classes": rows, "unlabelled": int(unlabelled)}


def image_row(result: PhotoResult, image_id: int | str, file_name: str) -> Json:
    """COCO's row of a photo, which says so where the model is unsure of it."""
    height, width = result.image.shape[:2]
    row = {"id": image_id, "file_name": file_name, "height": height, "width": width}
    return {**row, "unsure": True} if result.is_unsure else row


def segment_rows(result: PhotoResult) -> list[Json]:
    """COCO's rows of the panoptic segments that have a pixel."""
    assert result.panoptic is not None
    rows = []
    for segment in result.panoptic.segments:
        mask = result.panoptic.segment_ids == segment.id  # [H, W]
        left, top, width_of_box, height_of_box = cv2.boundingRect(mask.view(np.uint8))
        if width_of_box == 0:  # nothing of it is left in the map
            continue
        row: Json = {
            "id": segment.id,
            "category_id": result.category_ids[segment.label],
            "iscrowd": 0,
            "area": int(np.count_nonzero(mask)),
            "bbox": [left, top, width_of_box, height_of_box],
        }
        if segment.score is not None:
            row["score"] = round(segment.score, 6)
        rows.append(row)
    return rows


def category_rows(vocabulary: Vocabulary, category_ids: Sequence[int]) -> list[Json]:
    """COCO's rows of the classes, with the dataset's own ids."""
    colors = class_colors(len(vocabulary))
    return [
        {"id": number, "name": name, "supercategory": name, "isthing": int(thing), "color": color}
        for number, name, thing, color in zip(
            category_ids, vocabulary.names, vocabulary.is_thing, map(list, colors)
        )
    ]


def _result_rows(result: PhotoResult, instances: Instances, image_id: int | str) -> list[Json]:
    rows = []
    for index, label in enumerate(instances.labels.tolist()):
        left, top, right, bottom = (float(side) for side in instances.boxes[index])
        rows.append(
            {
                "image_id": image_id,
                "category_id": result.category_ids[label],
                "bbox": [left, top, right - left, bottom - top],
                "score": float(instances.scores[index]),
                **segmentation_of(instances.masks, index),
            }
        )
    return rows
