"""The segmentation of one photo as a user meets it: arrays, names, pictures, files.

Shapes: H W photo size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freeseg.images import RgbImage
from freeseg.visualization.export import coco_content, save_segmentation
from freeseg.visualization.overlay import draw_labels, draw_overlay
from freeseg.visualization.photo_result import PhotoResult


@dataclass(frozen=True)
class Segmentation(PhotoResult):
    """The segmentation of one photo, which can be drawn and saved; fields as in `PhotoResult`."""

    def overlay(self, task: str | None = None, *, min_score: float = 0.5) -> RgbImage:
        """Returns the photo with one task's segments drawn in and a legend beside it.

        The photo stays in the top left corner; small ones are enlarged by a whole factor first.

        Args:
            task: "panoptic", "instance" or "semantic"; the first that has a result when None.
            min_score: Instances below are not drawn.
        """
        return draw_overlay(self, self.require(task), min_score)

    def label_picture(self, task: str | None = None) -> RgbImage:
        """Returns a picture [H, W, 3] in which every segment is filled with its colour."""
        return draw_labels(self, self.require(task))

    def to_coco(self, image_id: int | str = 1, file_name: str = "image.png") -> dict[str, Any]:
        """Returns COCO's JSON: "panoptic" as a whole file, "instances" as a list of results.

        Args:
            image_id: What the annotations call the image.
            file_name: Name of the photo; the panoptic PNG is named after it.
        """
        return coco_content(self, image_id, file_name)

    def save(
        self,
        folder: str | os.PathLike[str],
        stem: str,
        *,
        image_id: int | str = 1,
        min_score: float = 0.5,
    ) -> dict[str, Path]:
        """Writes every result into a folder and returns the paths by what they hold.

        Args:
            folder: Made where it does not exist.
            stem: What every file name begins with.
            image_id: What the COCO files call the image.
            min_score: Instances below are not drawn into the overlay; the JSON has them all.
        """
        return save_segmentation(self, Path(folder), stem, image_id, min_score)
