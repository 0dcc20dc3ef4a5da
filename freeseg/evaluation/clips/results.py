"""Label maps of clips as files: PNGs with DAVIS's palette, FOLDER/CLIP/FRAME.png.

Shapes: H W frame size.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from freeseg.data.clips import Clip, LabelMap, clip_of, read_mask
from freeseg.data.problems import Problems
from freeseg.files import naming, write_one_of_many

_MAX_NUMBER = 255  # of a PNG with a palette


def davis_palette() -> npt.NDArray[np.uint8]:
    """RGB colours [256, 3] of object numbers, PASCAL VOC's.

    Bits 0, 3 and 6 of a number are the highest three of red, the highest first; those after them
    are green's, then blue's.
    """
    numbers = np.arange(256)[:, None]
    channels = np.arange(3)  # red, green, blue
    colors = np.zeros((256, 3), dtype=np.int64)
    for place in range(3):
        colors |= (numbers >> (3 * place + channels) & 1) << (7 - place)
    return colors.astype(np.uint8)


_PALETTE = davis_palette().tobytes()


def label_png(labels: LabelMap) -> bytes:
    """A PNG with a palette of a map [H, W] of object numbers.

    Raises:
        ValueError: A number does not go into such a PNG.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() <= _MAX_NUMBER:
        raise ValueError(
            f"object numbers must lie in 0..{_MAX_NUMBER}, got {labels.min()}..{labels.max()}"
        )
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(_PALETTE)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


class ResultWriter:
    """Writes the label maps of clips into a folder; every file is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Takes the folder, which is made when it is needed."""
        self.folder = folder

    def write(self, clip: Clip, frame: int, labels: LabelMap) -> Path:
        """Writes the map [H, W] of a frame, under the frame's name.

        Raises:
            WriteError: It cannot be written.
        """
        path = result_file(self.folder, clip, frame)
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_one_of_many(path, label_png(labels))
        return path


def result_file(folder: Path, clip: Clip, frame: int) -> Path:
    """Where the label map of a frame is written."""
    return folder / clip.name / f"{clip.frame_name(frame)}.png"


def read_results(folder: Path, clip: Clip) -> Iterator[LabelMap | None]:
    """The label maps [H, W] of a clip that somebody has written; None of frames not judged.

    Where all objects are one, everything that is not 0 is it.

    Raises:
        OSError: A file cannot be read.
        ValueError: It has colours.
    """
    for frame in range(len(clip.frames)):
        if not clip.judged(frame):
            yield None
            continue
        labels = read_mask(result_file(folder, clip, frame))
        yield (labels > 0).astype(np.int64) if clip.is_one_object else labels


def require_results(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a folder that lacks what is judged.

    Raises:
        DataError: With a line for each clip; names the first frame that is missing.
    """
    problems = Problems()
    for clip in map(clip_of, records):
        wanted = [frame for frame in range(len(clip.frames)) if clip.judged(frame)]
        missing = [
            file for frame in wanted if not (file := result_file(folder, clip, frame)).is_file()
        ]
        if missing:
            problems.error(
                "results",
                f"{missing[0]} does not exist: {len(missing)} of {len(wanted)} frames of "
                f"{clip.name} that are judged are missing",
            )
    problems.raise_errors()
