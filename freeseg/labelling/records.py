"""What is kept of a photo that is labelled: COCO's rows, its panoptic PNG, a thumbnail.

Shapes: H W photo size, N instances.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from freeseg.composition import find_from
from freeseg.data.panoptic import id2rgb
from freeseg.data.photos import name_under
from freeseg.files import write_one_of_many, write_text
from freeseg.segmenter import Segmenter
from freeseg.structures import Vocabulary
from freeseg.visualization import Instances, NamedSegment, PanopticSegments, Segmentation
from freeseg.visualization.annotations import PANOPTIC_FOLDER, instance_rows
from freeseg.visualization.export import category_rows, image_row, png_bytes, segment_rows
from freeseg_command.tasks import Task

THUMBNAILS = "thumbnails"
_LONG_SIDE = 320  # of a thumbnail, in pixels
_JPEG_QUALITY = 85
_LEAST_VISIBLE = 0.5  # of a mask, or it is no segment; Kirillov et al., "Panoptic Segmentation"


@dataclass(frozen=True)
class LabelRecords:
    """Keeps the rows of annotation files, and writes beside them what a photo has files of.

    Attributes:
        dataset: Folder of the data set.
        image_root: Folder in which the data set names its photos.
        min_score: Of instances.
        panoptic: Whether panoptic segments are kept too; of a model that answers instances alone
            they are its masks, the likeliest on top.
    """

    dataset: Path
    image_root: Path
    min_score: float
    panoptic: bool = False

    def settings(self) -> dict[str, Any]:
        return {"min_score": self.min_score, "panoptic": self.panoptic}

    def begin(self, segmenter: Segmenter) -> str:
        """Writes which classes there are, as every process would; returns what to ask for.

        Raises:
            ValueError: The model has no instances, which a data set is made of.
        """
        find_from(segmenter, self.min_score)
        if Task.INSTANCE not in segmenter.tasks:
            tasks = ", ".join(segmenter.tasks)
            raise ValueError(f"labels are instances, and the model answers {tasks} alone")
        rows = category_rows(segmenter.vocabulary, segmenter.category_ids)
        write_text(categories_file(self.dataset), json.dumps(rows))
        return "all" if self.panoptic and Task.PANOPTIC in segmenter.tasks else Task.INSTANCE

    def record_of(self, result: Segmentation, image_id: str, name: str) -> dict[str, Any]:
        """Rows without the numbers that they get in a file; a PNG and a thumbnail are written."""
        file_name = name_under(self.image_root, name)
        image = {**image_row(result, 0, file_name), "id": None}
        assert result.instances is not None
        record: dict[str, Any] = {
            "image": image,
            "instances": instance_rows(result, self.min_score),
        }
        if self.panoptic:
            segments = result.panoptic or panoptic_of(result, self.min_score)
            result = dataclasses.replace(result, panoptic=segments)
            png = png_bytes(id2rgb(segments.segment_ids))
            self._write(PANOPTIC_FOLDER, f"{file_name}.png", png)
            record["segments"] = segment_rows(result)
        self._write(THUMBNAILS, f"{file_name}.jpg", self._thumbnail(result))
        return record

    def _thumbnail(self, result: Segmentation) -> bytes:
        task = Task.PANOPTIC if result.panoptic is not None else Task.INSTANCE
        picture = Image.fromarray(result.picture(task, min_score=self.min_score))
        picture.thumbnail((_LONG_SIDE, _LONG_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
        return buffer.getvalue()

    def _write(self, folder: str, name: str, content: bytes) -> None:
        path = self.dataset / folder / name.lstrip("/")  # of a photo that is somewhere else
        path.parent.mkdir(parents=True, exist_ok=True)
        write_one_of_many(path, content)


def categories_file(dataset: Path) -> Path:
    """Where COCO's rows of the classes are, until they stand in the annotation files."""
    return dataset / "job" / "categories.json"


def panoptic_of(result: Segmentation, min_score: float) -> PanopticSegments:
    """Segments made of a photo's instances: the likelier one has the pixels that two claim.

    What is less than half visible then is left out; pixels of no instance are unassigned.

    Raises:
        ValueError: The instances are boxes without masks.
    """
    assert result.instances is not None
    found = result.instances
    if found.masks is None:
        raise ValueError("the model finds boxes without masks, of which no segments can be made")
    ids = np.zeros(result.image.shape[:2], np.int32)
    segments: list[NamedSegment] = []
    for number in _likeliest_first(found, result.vocabulary, min_score):
        mask = found.masks[number]  # [H, W]
        free = mask & (ids == 0)
        area = int(np.count_nonzero(free))
        if not area or area < _LEAST_VISIBLE * np.count_nonzero(mask):
            continue
        ids[free] = len(segments) + 1
        label, score = int(found.labels[number]), float(found.scores[number])
        segments.append(
            NamedSegment(len(segments) + 1, label, found.names[number], True, score, area)
        )
    return PanopticSegments(ids, tuple(segments))


def _likeliest_first(found: Instances, vocabulary: Vocabulary, min_score: float) -> list[int]:
    order: list[int] = np.argsort(-found.scores, kind="stable").tolist()
    is_wanted = [
        score >= min_score and vocabulary.is_thing[label]
        for label, score in zip(found.labels.tolist(), found.scores.tolist())
    ]
    return [number for number in order if is_wanted[number]]
