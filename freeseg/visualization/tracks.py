"""What was followed through a video, as files: PNGs of numbers, COCO's codes, a video to look at.

Shapes: M objects, H W frame size.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle_codec

from freeseg.evaluation.clips.results import label_png
from freeseg.files import naming, replacing, write_one_of_many
from freeseg.tracking import TimedFrame, TrackedObjects
from freeseg.videos import Frame, writing_video
from freeseg.visualization.segmentation import Segmentation

PNG, COCO, VIDEO = FORMATS = ("png", "coco", "overlay")
COCO_FILE, VIDEO_FILE = "tracks.json", "overlay.mp4"


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame with its objects.

    Attributes:
        frame: As it was given.
        objects: Their numbers.
        segmentation: They as any other result: drawn, saved, converted. A row for each number, in
            the order in which objects began.
    """

    frame: TimedFrame
    objects: TrackedObjects
    segmentation: Segmentation

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """int32 [H, W], the number of the object of every pixel; 0: none."""
        return self.objects.labels.numpy()


class TrackWriter:
    """Writes frames as they come, a context manager; holds none of them.

    - "png": FOLDER/NAME.png of every frame, with DAVIS's palette;
    - "coco": FOLDER/tracks.json, one annotation for every object of a frame where it is seen, with
      its "track_id", the number of the object;
    - "overlay": FOLDER/overlay.mp4, with the sound of the source.

    Files have their names once they are complete.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str] = FORMATS,
        *,
        rate: Fraction = Fraction(25),
        source: Path | None = None,
    ) -> None:
        """Begins.

        Args:
            folder: Made where it is needed.
            formats: Some of `FORMATS`.
            rate: Frames per second of the video.
            source: The video whose sound is kept.

        Raises:
            ValueError: A format is unknown.
            WriteError: The folder cannot be written.
        """
        unknown = [name for name in formats if name not in FORMATS]
        if unknown or not formats:
            raise ValueError(
                f"wanted some of the formats {', '.join(FORMATS)}, "
                f"got {', '.join(map(repr, formats)) or 'none'}"
            )
        self.folder, self.formats = folder, tuple(formats)
        with naming(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._rate, self._source = rate, source
        self._files = contextlib.ExitStack()
        self._video: Any = None
        self._rows: _Rows | None = None

    def __enter__(self) -> TrackWriter:
        with contextlib.ExitStack() as files:
            if VIDEO in self.formats:
                path = self.folder / VIDEO_FILE
                self._video = files.enter_context(writing_video(path, self._rate, self._source))
            if COCO in self.formats:
                self._rows = files.enter_context(_Rows(self.folder / COCO_FILE))
            self._files = files.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._files.__exit__(kind, error, trace)

    def add(self, tracked: TrackedFrame) -> None:
        """Writes a frame.

        Raises:
            WriteError: A file cannot be written.
            ValueError: A number is too large for a PNG.
        """
        if PNG in self.formats:
            path = self.folder / f"{tracked.frame.name}.png"
            write_one_of_many(path, label_png(tracked.labels.astype(np.int64)))
        if self._rows is not None:
            self._rows.add(tracked)
        if self._video is not None:
            picture = tracked.segmentation.picture(min_score=0.0)
            self._video.add(Frame(picture, tracked.frame.time))


class _Rows:
    """A COCO file that is written row by row."""

    def __init__(self, path: Path) -> None:
        self._path, self._files = path, contextlib.ExitStack()
        partial = self._files.enter_context(replacing(path))
        self._file: IO[str] = partial.open("w", encoding="utf-8")
        self._write('{"annotations": [')
        self._images: list[dict[str, Any]] = []
        self._names: dict[int, str] = {}
        self._count = 0

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        if kind is None:
            rest = {
                "images": self._images,
                "categories": [{"id": 1, "name": "object"}],
                "tracks": [{"id": key, "name": name} for key, name in self._names.items()],
            }
            self._write("],\n" + json.dumps(rest)[1:])
        self._file.close()
        return self._files.__exit__(kind, error, trace)

    def add(self, tracked: TrackedFrame) -> None:
        """The objects that are seen on a frame."""
        height, width = tracked.labels.shape
        image = tracked.frame.number + 1
        name = {"id": image, "file_name": tracked.frame.name, "height": height, "width": width}
        self._images.append(name)
        objects, labels = tracked.objects, tracked.labels
        self._names.update(objects.names)
        for number in objects.names:
            mask = labels == number
            if not mask.any():
                continue
            code = rle_codec.encode(np.asfortranarray(mask, dtype=np.uint8))
            self._count += 1
            row = {
                "id": self._count,
                "image_id": image,
                "track_id": number,
                "category_id": 1,
                "segmentation": {"size": code["size"], "counts": code["counts"].decode("ascii")},
                "area": int(mask.sum()),
                "bbox": [float(side) for side in rle_codec.toBbox(code)],
                "iscrowd": 0,
                "score": round(objects.scores.get(number, 0.0), 4),
            }
            self._write((",\n" if self._count > 1 else "\n") + json.dumps(row))

    def _write(self, text: str) -> None:
        with naming(self._path):
            self._file.write(text)
