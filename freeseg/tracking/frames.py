"""Frames of a video file, of a folder of pictures, or of anything that gives pictures."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Union

from freeseg.data.photos import images_in
from freeseg.images import ImageError, ImageSource
from freeseg.videos import Video

RATE = Fraction(25)  # frames per second of pictures, which have no times

FrameSource = Union[str, "os.PathLike[str]", Iterable[ImageSource]]


@dataclass(frozen=True, eq=False)
class TimedFrame:
    """A picture of a clip.

    Attributes:
        number: From 0 on.
        image: What `freeseg.images.read_image` reads.
        name: Of its file without the ending, else the number in five digits.
        time: Seconds from the start.
    """

    number: int
    image: ImageSource
    name: str
    time: Fraction


def read_frames(source: FrameSource, every: int = 1) -> Iterator[TimedFrame]:
    """Frames one after the other, as they are asked for.

    Args:
        source: A video, a folder of pictures in the order of their names, or pictures.
        every: Only each n-th; the others are not counted.

    Raises:
        ImageError: It is no video, or a folder without pictures, or with two of one name.
        ValueError: `every` is less than 1.
    """
    if every < 1:
        raise ValueError(f"every must be 1 or more, got {every}")
    if not isinstance(source, (str, os.PathLike)):
        pictures = ((image, f"{number:05d}") for number, image in enumerate(source))
    elif Path(source).is_dir():
        files = sorted(images_in(Path(source)))
        if not files:
            raise ImageError(os.fspath(source), "has no pictures")
        twice = [stem for stem, count in Counter(path.stem for path in files).items() if count > 1]
        if twice:
            raise ImageError(os.fspath(source), f"has several pictures of the name {twice[0]}")
        pictures = ((path, path.stem) for path in files)
    else:
        yield from _video_frames(Path(source), every)
        return
    for number, (image, name) in enumerate(pictures):
        if number % every == 0:
            yield TimedFrame(number // every, image, name, number / RATE)


def _video_frames(path: Path, every: int) -> Iterator[TimedFrame]:
    with Video(path) as video:
        for number, frame in enumerate(video.frames(every)):
            yield TimedFrame(number, frame.image, f"{number:05d}", frame.time)
