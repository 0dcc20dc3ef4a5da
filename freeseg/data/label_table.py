"""What the pixel values of semantic PNGs mean, where they are no class numbers.

Shapes: H W image size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from freeseg.data.panoptic import rgb2id, unique_labels

LabelMap = npt.NDArray[Any]

VOID_VALUE = 255  # of a PNG of category ids, as everywhere


@dataclass(frozen=True)
class LabelTable:
    """Class numbers of the values, or of the colours, of semantic PNGs.

    Attributes:
        class_of_value: Class number by the pixel value of one channel; None is void.
        class_of_color: The same by colour, R + 256 G + 65536 B; None where colours mean nothing.
    """

    class_of_value: Mapping[int, int | None]
    class_of_color: Mapping[int, int | None] | None = None

    @property
    def void_value(self) -> int:
        """A pixel value without meaning, for messages."""
        voids = (value for value, label in self.class_of_value.items() if label is None)
        return next(voids, VOID_VALUE)

    def classes(self, pixels: LabelMap, void: int) -> LabelMap:
        """Class numbers [H, W] of a PNG's pixels, [H, W] or [H, W, C].

        Args:
            pixels: As they are in the file.
            void: What a pixel gets that has no class.

        Raises:
            ValueError: A value has no meaning, or the picture has colours and they have none.
        """
        colors = self._colors(pixels)
        values = one_channel(pixels) if colors is None else colors
        if values is None:
            raise ValueError(
                "has colours, wanted one number per pixel: give every category its own "
                '"color" [R, G, B], or write category ids'
            )
        table = self.class_of_value if colors is None else self.class_of_color or {}
        present, places = unique_labels(values)
        unknown = [value for value in present.tolist() if value not in table]
        if unknown:
            is_color = colors is not None
            hint = swap_hint(present.tolist(), table) if is_color else ""
            raise ValueError(
                f"has the {label_text(unknown[0], is_color)}, which is none of "
                f"{_known(table, is_color)}{hint}"
            )
        classes = [void if table[value] is None else table[value] for value in present.tolist()]
        return np.asarray(classes, dtype=np.int64)[places]

    def _colors(self, pixels: LabelMap) -> LabelMap | None:
        """Packed colours [H, W] of a picture whose colours this table has; None of numbers."""
        if self.class_of_color is None or pixels.ndim == 2 or pixels.shape[2] < 3:
            return None
        packed = rgb2id(pixels)
        are_known = set(np.unique(packed).tolist()) <= set(self.class_of_color)
        return packed if are_known or one_channel(pixels) is None else None

    def renumbered(self, labels: Sequence[int | None]) -> LabelTable:
        """This table for other class numbers: `labels` has the new one of every old one."""

        def new(table: Mapping[int, int | None]) -> dict[int, int | None]:
            return {
                value: None if label is None else labels[label] for value, label in table.items()
            }

        colors = self.class_of_color
        return replace(
            self,
            class_of_value=new(self.class_of_value),
            class_of_color=None if colors is None else new(colors),
        )


def one_channel(pixels: LabelMap) -> LabelMap | None:
    """The values [H, W] of a grey or palette picture, also of one saved as RGB; None of colours."""
    if pixels.ndim == 2:
        return pixels
    first = pixels[..., 0]
    is_grey = pixels.shape[2] < 3 or bool(
        (first == pixels[..., 1]).all() and (first == pixels[..., 2]).all()
    )
    return first if is_grey else None


def packed_color(color: Sequence[int]) -> int:
    """R + 256 G + 65536 B of a colour, as `rgb2id` has it of a picture."""
    return int(color[0]) + 256 * int(color[1]) + 65536 * int(color[2])


def label_text(value: int, is_color: bool) -> str:
    """How messages call a pixel's value, or its packed colour."""
    return f"colour {_channels(value)}" if is_color else f"label {value}"


def swap_hint(colors: Collection[int], known: Collection[int]) -> str:
    """What messages say of packed colours that would all be known, were red and blue swapped."""
    swapped = {packed_color(_channels(color)[::-1]) for color in colors}
    return ": red and blue are swapped (OpenCV writes BGR)" if swapped <= set(known) else ""


def _channels(packed: int) -> list[int]:
    return [packed & 255, packed >> 8 & 255, packed >> 16]


def _known(table: Mapping[int, int | None], is_color: bool) -> str:
    """The first values that stand for classes."""
    values = sorted(value for value, label in table.items() if label is not None)
    texts = [str(_channels(value) if is_color else value) for value in values[:12]]
    return ", ".join(texts) + (" ..." if len(values) > 12 else "")
