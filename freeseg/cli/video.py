"""Videos, frame by frame, by OpenCV.

Shapes: H W frame size.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from freeseg.images import ImageError, RgbImage
from freeseg.predictor import Segmenter
from freeseg.visualization.summary import summarize

_DEFAULT_RATE = 25.0  # frames per second, where a file does not say
_USUAL_FORMATS = ("overlay",)  # of a video: others are files per frame


def video_target(target: Path) -> Path:
    """The video that is written for a path without a suffix, whose name may have dots."""
    return target.with_name(f"{target.name}.mp4")


def segment_video(
    video: Path, segmenter: Segmenter, target: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Segments a video and returns what a summary says of it.

    With the format "overlay" a video is written with the first task's segments drawn in, which has
    its name once it is whole; of other formats, files per frame into a folder.

    Args:
        video: The file.
        segmenter: The model.
        target: Path of what is written, without a suffix.
        args: Of the command: task, format, min_score, every.

    Raises:
        ImageError: It cannot be read as a video.
    """
    found: Counter[str] = Counter()
    formats = args.format or _USUAL_FORMATS
    others = [name for name in formats if name != "overlay"]
    capture = _open(video)
    writer: _Writer | None = None
    count = 0
    try:
        rate = (capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_RATE) / args.every
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // args.every or None
        frames = tqdm(read_frames(capture, args.every), total=total, unit="frame", disable=None)
        for count, result in enumerate(segmenter.stream(frames, args.task), start=1):
            found.update({entry["name"] for entry in summarize(result)[result.tasks[0]]})
            if "overlay" in formats:
                writer = writer or _Writer(video_target(target), rate, result.image.shape)
                writer.add(result.picture(min_score=args.min_score))
            if others:
                stem = f"{target.name}_{count:06d}"
                result.save(target, stem, image_id=count, min_score=args.min_score, formats=others)
        if writer is not None:
            writer.keep()
    finally:
        capture.release()
        if writer is not None:
            writer.close()
    if not count:
        raise ImageError(str(video), "has no frames")
    files = {"video": str(writer.path)} if writer else {}
    names = ", ".join(name for name, _ in found.most_common(8)) or "nothing found"
    return {
        "photo": str(video),
        "frames": count,
        "found": dict(found),
        "files": {**files, **({"frames": str(target)} if others else {})},
        "shown": f"{count} frames: {names} -> {writer.path if writer else target}",
    }


def read_frames(capture: Any, every: int) -> Iterator[RgbImage]:
    """Gives every n-th frame, RGB uint8 [H, W, 3]."""
    number = 0
    while capture.grab():
        if number % every == 0:
            _, frame = capture.retrieve()
            yield np.ascontiguousarray(frame[:, :, ::-1])
        number += 1


def _open(video: Path) -> Any:
    if not video.is_file():
        raise ImageError(str(video), "no such file")
    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise ImageError(str(video), "is no video, or of a kind that OpenCV cannot read")
    return capture


class _Writer:
    """Writes RGB frames of one size as MPEG-4, into a hidden file until it is kept."""

    def __init__(self, path: Path, rate: float, shape: tuple[int, ...]) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}")  # OpenCV goes by the suffix
        size = (shape[1], shape[0])
        kind = cv2.VideoWriter.fourcc(*"mp4v")
        self._video = cv2.VideoWriter(str(self._partial), kind, rate, size)
        if not self._video.isOpened():
            raise OSError(f"OpenCV cannot write the video {path}")

    def add(self, picture: RgbImage) -> None:
        self._video.write(np.ascontiguousarray(picture[:, :, ::-1]))

    def keep(self) -> None:
        """Gives the video its name."""
        self._video.release()
        os.replace(self._partial, self.path)

    def close(self) -> None:
        """Removes what was not kept."""
        self._video.release()
        self._partial.unlink(missing_ok=True)
