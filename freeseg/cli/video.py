"""Videos, frame by frame, by OpenCV.

Shapes: H W frame size.
"""

from __future__ import annotations

import argparse
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


def segment_video(
    video: Path, segmenter: Segmenter, target: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Segments a video and returns what a summary says of it.

    With the format "overlay" a video is written with the first task's segments drawn in; of other
    formats, files per frame into a folder.

    Args:
        video: The file.
        segmenter: The model.
        target: Path of what is written, without a suffix.
        args: Of the command: task, format, min_score, every.

    Raises:
        ImageError: It cannot be read as a video.
    """
    found: Counter[str] = Counter()
    others = [name for name in args.format if name != "overlay"]
    capture = _open(video)
    writer: _Writer | None = None
    count = 0
    try:
        rate = (capture.get(cv2.CAP_PROP_FPS) or _DEFAULT_RATE) / args.every
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // args.every or None
        frames = tqdm(read_frames(capture, args.every), total=total, unit="frame", disable=None)
        for count, result in enumerate(segmenter.stream(frames, args.task), start=1):
            found.update({entry["name"] for entry in summarize(result)[result.tasks[0]]})
            if "overlay" in args.format:
                writer = writer or _Writer(target.with_suffix(".mp4"), rate, result.image.shape)
                writer.add(result.picture(min_score=args.min_score))
            if others:
                stem = f"{target.name}_{count:06d}"
                result.save(target, stem, image_id=count, min_score=args.min_score, formats=others)
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
    """Writes RGB frames of one size as MPEG-4."""

    def __init__(self, path: Path, rate: float, shape: tuple[int, ...]) -> None:
        self.path = path
        size = (shape[1], shape[0])
        self._video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
        if not self._video.isOpened():
            raise OSError(f"OpenCV cannot write the video {path}")

    def add(self, picture: RgbImage) -> None:
        self._video.write(np.ascontiguousarray(picture[:, :, ::-1]))

    def close(self) -> None:
        self._video.release()
