"""Clips: the frames of a video with the masks of objects on some of them, or on all.

Shapes: H W frame size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from freeseg.data.annotation_files import read_picture
from freeseg.data.label_table import one_channel
from freeseg.images import read_image
from freeseg.structures.clip_frame import ClipFrame

CLIP_KEY = "clip"  # of a record
VOID = 255  # of masks: background, as in DAVIS's evaluation

LabelMap = npt.NDArray[np.int64]  # [H, W], numbers of objects, 0 is background


@dataclass(frozen=True)
class Clip:
    """A clip by its files. Frames are numbered from 0, whatever their files are called.

    Attributes:
        name: Of the clip.
        frames: Files of all frames, in order.
        masks: Files of masks by the number of their frame.
        begins: The frame from which on each object is there, by its number. Its mask is given
            there, and it is judged on later frames.
        size: (height, width) of all frames.
        is_one_object: All that the masks mark is object 1.
        void: What is background in masks beside 0; None: nothing.
        judges_last: Whether the last frame of the clip is judged. DAVIS leaves it out.
        is_seen: Whether an object is of a class that the benchmark has training clips of, by its
            number; empty where that is not known.
    """

    name: str
    frames: tuple[str, ...]
    masks: Mapping[int, str]
    begins: Mapping[int, int]
    size: tuple[int, int]
    is_one_object: bool = False
    void: int | None = VOID
    judges_last: bool = False
    is_seen: Mapping[int, bool] | None = None

    def frame_name(self, frame: int) -> str:
        """Of a frame's file, without suffix; its masks have it, too."""
        return Path(self.frames[frame]).stem

    @property
    def has_truth(self) -> bool:
        """Whether masks are more than those from which objects are to be followed.

        In validation sets that a server judges every mask is on a frame where an object begins,
        and need not mark the objects that have begun before.
        """
        return bool(set(self.masks) - set(self.begins.values()))

    def judged(self, frame: int) -> list[int]:
        """The objects that are judged on a frame: none where there is no truth."""
        is_last = frame == len(self.frames) - 1
        if frame not in self.masks or not self.has_truth or (is_last and not self.judges_last):
            return []
        return [number for number, begin in self.begins.items() if begin < frame]

    def truth(self, frame: int) -> LabelMap:
        """All objects [H, W] on a frame with masks.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is of another size, or marks what is no object of the clip; names it.
        """
        file = self.masks[frame]
        labels = read_mask(file)
        if labels.shape != self.size:
            raise ValueError(
                f"{file} is {labels.shape[1]}x{labels.shape[0]} pixels, its clip "
                f"{self.size[1]}x{self.size[0]}"
            )
        if self.void is not None:
            labels[labels == self.void] = 0
        if self.is_one_object:
            return (labels > 0).astype(np.int64)
        unknown = sorted(set(np.unique(labels).tolist()) - {0, *self.begins})
        if unknown:
            known = ", ".join(map(str, self.begins))
            raise ValueError(
                f"{file} has object {unknown[0]}, the clip has {known}: an object needs a mask on "
                "the frame where it begins"
            )
        return labels

    def begun(self, frame: int) -> LabelMap | None:
        """The objects [H, W] that begin on a frame, alone; None where none does.

        Raises:
            OSError: Their file cannot be read.
            ValueError: It cannot be used, see `truth`.
        """
        numbers = [number for number, begin in self.begins.items() if begin == frame]
        if not numbers:
            return None
        labels = self.truth(frame)
        return np.where(np.isin(labels, numbers), labels, 0)

    def shown(self) -> Iterator[ClipFrame]:
        """Every frame as a system sees it, read when it is asked for.

        Raises:
            ImageError: A frame cannot be read.
            ValueError: It is of another size than the first, or its masks cannot be used.
        """
        for number, file in enumerate(self.frames):
            image, begun = read_image(file), self.begun(number)
            if image.shape[:2] != self.size:
                raise ValueError(
                    f"{file} is {image.shape[1]}x{image.shape[0]} pixels, the first frame of "
                    f"{self.name} {self.size[1]}x{self.size[0]}"
                )
            yield ClipFrame(image, None if begun is None else torch.from_numpy(begun))


def clip_of(record: Mapping[str, Any]) -> Clip:
    """The clip of a record."""
    clip = record[CLIP_KEY]
    assert isinstance(clip, Clip)
    return clip


def read_mask(file: str | Path) -> LabelMap:
    """The values [H, W] of a PNG with a palette, or a grey one.

    Raises:
        OSError: It cannot be read.
        ValueError: It has colours; names it.
    """
    values = one_channel(read_picture(str(file)))
    if values is None:
        raise ValueError(
            f"{file} has colours, wanted a PNG with a palette, or a grey one, of object numbers"
        )
    return values.astype(np.int64)
