"""Examples that options of a command name, and what a command asks about photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from freeseg.data.examples import EXAMPLE_SUFFIX, AnyExample, load_example, read_example
from freeseg.images import ImageSource
from freeseg.segmenter import Segmenter
from freeseg.structures import Enrolled, Example, Vocabulary
from freeseg.visualization import Segmentation


@dataclass(frozen=True)
class Question:
    """What is asked about photos and frames.

    Attributes:
        segmenter: That answers.
        task: Its name.
        examples: To be followed; None: none.
    """

    segmenter: Segmenter
    task: str
    examples: Enrolled | None = None

    def ask(self, photo: ImageSource) -> Segmentation:
        """About one photo."""
        if self.examples is None:
            return self.segmenter(photo, self.task)
        return self.segmenter.open(photo)(examples=self.examples)

    def stream(self, images: Iterable[ImageSource]) -> Iterator[Segmentation]:
        """About many, as they are asked for."""
        if self.examples is None:
            return self.segmenter.stream(images, self.task)
        return map(self.ask, images)


def read_example_options(options: Sequence[str], names: str | None) -> tuple[AnyExample, ...]:
    """The examples of --example.

    Args:
        options: PHOTO:MASK, or a file *.safetensors.
        names: Of the numbers 1, 2, ... in masks, with commas; None: the numbers are all there is.

    Raises:
        ValueError: One is neither, has a number without a name, or there is no mask to name.
    """
    listed = [name.strip() for name in (names or "").split(",")]
    if names is not None and not all(listed):
        raise ValueError(f"--names: wanted names with commas between them, got {names!r}")
    examples = [_example(text, listed if names is not None else None) for text in options]
    if names is not None and not any(isinstance(each, Example) for each in examples):
        raise ValueError("--names are of the masks of --example PHOTO:MASK, and there is none")
    return tuple(examples)


def _example(text: str, names: Sequence[str] | None) -> AnyExample:
    if text.endswith(EXAMPLE_SUFFIX):
        return load_example(text)
    photo, _, mask = text.rpartition(":")  # a web address has one too
    if not photo or not mask:
        raise ValueError(f"--example: wanted PHOTO:MASK or a file *{EXAMPLE_SUFFIX}, got {text}")
    example = read_example(photo, os.path.expanduser(mask))
    assert example.ids is not None
    if names is None:
        return example
    nameless = [number for number in example.ids.tolist() if number > len(names)]
    if nameless:
        raise ValueError(
            f"--names has {len(names)}, and {mask} shows the number {nameless[0]}: name them all"
        )
    known = tuple(dict.fromkeys(names))
    labels = torch.tensor([known.index(names[number - 1]) for number in example.ids.tolist()])
    return replace(
        example, ids=None, labels=labels.long(), vocabulary=Vocabulary.from_classes(known)
    )
