"""Videos, frame by frame."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from tqdm import tqdm

from freeseg.cli.examples import Question
from freeseg.images import RgbImage
from freeseg.videos import Frame, Video, writing_video
from freeseg.visualization.photo_result import UNSURE
from freeseg.visualization.summary import summarize

_USUAL_FORMATS = ("overlay",)  # of a video: others are files per frame


def video_target(target: Path) -> Path:
    """The video that is written for a path without a suffix, whose name may have dots."""
    return target.with_name(f"{target.name}.mp4")


def segment_video(
    video: Path, question: Question, target: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """Segments a video and returns what a summary says of it.

    With the format "overlay" a video is written with the first task's segments drawn in, each frame
    at its time and with the sound; of other formats, files per frame into a folder.

    Args:
        video: The file.
        question: What is asked of the model.
        target: Path of what is written, without a suffix.
        args: Of the command: format, min_score, every.

    Raises:
        ImageError: It cannot be read as a video.
    """
    found: Counter[str] = Counter()
    formats = args.format or _USUAL_FORMATS
    others = [name for name in formats if name != "overlay"]
    path = video_target(target)
    times: deque[Fraction] = deque()  # of the frames that the model has and has not answered
    count = num_unsure = 0
    with contextlib.ExitStack() as files:
        source = files.enter_context(Video(video))
        writer = None
        if "overlay" in formats:
            writer = files.enter_context(writing_video(path, source.rate / args.every, video))
        for count, result in enumerate(
            question.stream(_images(source, args.every, times)), start=1
        ):
            found.update(
                {entry["name"] for entry in summarize(result, args.min_score)[result.tasks[0]]}
            )
            num_unsure += result.is_unsure
            time = times.popleft()
            if writer is not None:
                writer.add(Frame(result.picture(min_score=args.min_score), time))
            if others:
                stem = f"{target.name}_{count:06d}"
                result.save(target, stem, image_id=count, min_score=args.min_score, formats=others)
    names = ", ".join(name for name, _ in found.most_common(8)) or "nothing found"
    doubt = f" ({num_unsure} of them {UNSURE})" if num_unsure else ""
    return {
        "photo": str(video),
        "frames": count,
        "knows": question.segmenter.knows,
        "unsure_frames": num_unsure,
        "found": dict(found),
        "files": {
            **({"video": str(path)} if writer is not None else {}),
            **({"frames": str(target)} if others else {}),
        },
        "shown": f"{count} frames{doubt}: {names} -> {path if writer is not None else target}",
    }


def _images(source: Video, every: int, times: deque[Fraction]) -> Iterator[RgbImage]:
    """Gives every n-th frame, and notes its time."""
    total = source.num_frames and -(-source.num_frames // every)
    for frame in tqdm(source.frames(every), total=total, unit="frame", disable=None, leave=False):
        times.append(frame.time)
        yield frame.image
