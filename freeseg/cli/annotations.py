"""One COCO annotation file for all photos of a command, named as their folder has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freeseg.cli.photos import common_folder, is_video
from freeseg.data.photos import Photo, name_under, unique_stems
from freeseg.visualization import AnnotationFiles, Segmentation
from freeseg.visualization.annotations import PANOPTIC_FOLDER
from freeseg_command.messages import complain


class FolderAnnotations:
    """Collects the results of the photos that the arguments name."""

    def __init__(self, arguments: Sequence[str], out: Path, min_score: float) -> None:
        """Takes the arguments, the folder to write into and the least score of an instance."""
        self._root = common_folder(arguments)
        self._out = out
        self._files = AnnotationFiles(out, min_score=min_score)

    def leave_out(self, photos: Sequence[Photo], *, has_other_formats: bool) -> list[Photo]:
        """Says that videos and web addresses have no place in the file; returns what to segment.

        They are segmented where other formats are written of them.
        """
        kept = [photo for photo in photos if _is_file_of_photo(photo)]
        if len(kept) < len(photos):
            count = len(photos) - len(kept)
            verb = "video or web address is" if count == 1 else "videos and web addresses are"
            complain(f"{count} {verb} left out of the annotation files")
        return list(photos) if has_other_formats else kept

    def targets(self, photos: Sequence[Photo]) -> list[Path]:
        """The pictures that are written."""
        kept = [photo for photo in photos if _is_file_of_photo(photo)]
        return [self._out / PANOPTIC_FOLDER / f"{stem}.png" for stem in unique_stems(kept)]

    def add(self, photo: Photo, result: Segmentation) -> None:
        """Adds a photo's result."""
        if not _is_file_of_photo(photo):
            return
        self._files.add(result, name_under(self._root, photo))

    def save(self) -> dict[str, Any]:
        """Writes the files; returns their paths by task and the folder that photos are named in."""
        files = {task: str(path) for task, path in self._files.save().items()}
        return {"files": files, "image_root": str(self._root)}


def _is_file_of_photo(photo: Photo) -> bool:
    return isinstance(photo, Path) and not is_video(photo)
