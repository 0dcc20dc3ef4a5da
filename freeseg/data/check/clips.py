"""What can be known of a set of clips before it is used."""

from __future__ import annotations

import numpy as np

from freeseg.data.clips import Clip
from freeseg.data.problems import Problems
from freeseg.image_headers import read_header

MAX_MASKS = 1000  # that are decoded, evenly spread


def check_clips(clips: list[Clip], problems: Problems) -> None:
    """Looks at the header of every frame and at masks, up to a thousand.

    Args:
        clips: Of one set.
        problems: Gets what is wrong.
    """
    of_frames = problems.collecting("frames")
    for clip in clips:
        for file in clip.frames:
            with of_frames:
                _check_frame(file, clip)
    masks = [(clip, frame) for clip in clips for frame in sorted(clip.masks)]
    of_masks = problems.collecting("masks")
    for clip, frame in masks[:: -(-len(masks) // MAX_MASKS) or 1]:
        with of_masks:
            present = set(np.unique(clip.truth(frame)).tolist())
            begun = {number for number, begin in clip.begins.items() if begin == frame}
            for number in sorted(begun - present):
                problems.warn(
                    "objects without mask",
                    f"{clip.masks[frame]}: object {number} begins there and has no pixel: it counts"
                    " as empty",
                )


def _check_frame(file: str, clip: Clip) -> None:
    """Refuses a frame that is none.

    Raises:
        ValueError: It cannot be read, or is of another size than the first of its clip.
    """
    header = read_header(file)
    if header is None:
        raise ValueError(f"{file} is no picture that can be read")
    if header.upright_size != clip.size:
        height, width = header.upright_size
        raise ValueError(
            f"{file} is {width}x{height} pixels, the first frame of its clip "
            f"{clip.size[1]}x{clip.size[0]}"
        )
