"""What a person points at in a photo: points, boxes, strokes, rough masks.

Shapes: N objects, P points of an object, H W photo size. Everything is in photo pixels, and
continuous: the centre of the pixel in row 3, column 5 is (5.5, 3.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

ON, OFF, ABSENT = 1, 0, -1  # signs of points


@dataclass(frozen=True, eq=False)
class Marks:
    """Marks of N objects; row n of every field is what is said of object n.

    Attributes:
        size: (height, width) of the photo.
        points: [N, P, 2], (x, y).
        signs: int64 [N, P]: `ON` the object, `OFF` it, or `ABSENT`, where there is no point.
        boxes: [N, 4], xyxy; a row of NaN where there is none.
        masks: Bool [N, H, W], a rough result; all False where there is none. None: nowhere.
        strokes: Bool [N, H, W], what was drawn over; likewise.
    """

    size: tuple[int, int]
    points: Tensor
    signs: Tensor
    boxes: Tensor
    masks: Tensor | None = None
    strokes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.points)

    @property
    def has_box(self) -> Tensor:
        """Bool [N]."""
        return ~self.boxes.isnan().any(dim=1)

    @property
    def is_said(self) -> Tensor:
        """Bool [N], False for objects of which nothing is said."""
        found = self.has_box | (self.signs != ABSENT).any(1)
        for drawn in (self.masks, self.strokes):
            if drawn is not None:
                found = found | drawn.flatten(1).any(1)
        return found

    @property
    def kinds(self) -> frozenset[str]:
        """What there is of "points", "boxes", "masks" and "strokes"."""
        there = {
            "points": bool((self.signs != ABSENT).any()),
            "boxes": bool(self.has_box.any()),
            "masks": self.masks is not None,
            "strokes": self.strokes is not None,
        }
        return frozenset(kind for kind, is_there in there.items() if is_there)

    def refined(self, more: Marks) -> Marks:
        """These with the points of others behind their own, row by row, and the others' boxes.

        Rough masks are left out: what is refined has a better one.

        Raises:
            ValueError: They are of unlike numbers of objects.
        """
        if len(self) != len(more):
            raise ValueError(
                f"marks of {len(more)} objects cannot refine an answer about {len(self)}"
            )
        return Marks(
            self.size,
            torch.cat([self.points, more.points], dim=1),
            torch.cat([self.signs, more.signs], dim=1),
            torch.where(more.has_box[:, None], more.boxes, self.boxes),
            strokes=self.strokes,
        )

    @classmethod
    def of_nothing(cls, size: tuple[int, int], count: int) -> Marks:
        """Of objects of which nothing is said in a photo of (height, width)."""
        return cls(
            size,
            torch.zeros(count, 0, 2),
            torch.zeros(count, 0, dtype=torch.int64),
            torch.full((count, 4), torch.nan),
        )

    @classmethod
    def read(
        cls,
        size: tuple[int, int],
        *,
        points: Any = None,
        signs: Any = None,
        boxes: Any = None,
        masks: Any = None,
        strokes: Any = None,
    ) -> Marks:
        """Reads lists, arrays or tensors.

        Args:
            size: (height, width) of the photo.
            points: [P, 2] of one object, [N, P, 2], or a list of N lists of unlike lengths.
            signs: As points without the last axis: 1 or True on the object, 0 or False off it;
                all on it when None.
            boxes: [4] of one object or [N, 4], xyxy.
            masks: [H, W] of one object or [N, H, W], bool or 0 and 1.
            strokes: As masks.

        Raises:
            ValueError: What is given is malformed, outside the photo, or of unlike numbers of
                objects; the message names the field and the place in it.
        """
        read_points, read_signs = _read_points(points, signs, size)
        fields = {
            "points": read_points,
            "boxes": None if boxes is None else _read_boxes(boxes, size),
            "masks": None if masks is None else _read_masks(masks, "masks", size),
            "strokes": None if strokes is None else _read_masks(strokes, "strokes", size),
        }
        counts = {name: len(field) for name, field in fields.items() if field is not None}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name} of {count}" for name, count in counts.items())
            raise ValueError(f"marks are of unlike numbers of objects: {said}")
        count = next(iter(counts.values()), 0)
        if read_points is None or read_signs is None:
            read_points = torch.zeros(count, 0, 2)
            read_signs = torch.zeros(count, 0, dtype=torch.int64)
        read_boxes = fields["boxes"]
        if read_boxes is None:
            read_boxes = torch.full((count, 4), torch.nan)
        return cls(size, read_points, read_signs, read_boxes, fields["masks"], fields["strokes"])


def _read_points(
    points: Any, signs: Any, size: tuple[int, int]
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    if points is None:
        if signs is not None:
            raise ValueError("signs are of points, and no points were given")
        return None, None
    rows = _rows(points, "points", depth=2)
    known = [[ON] * len(row) for row in rows] if signs is None else _rows(signs, "signs", depth=1)
    lengths, wanted = [len(row) for row in known], [len(row) for row in rows]
    if lengths != wanted:
        raise ValueError(f"wanted a sign for every point, {wanted} by object, got {lengths}")
    most = max(wanted, default=0)
    read = torch.zeros(len(rows), most, 2)
    read_signs = torch.full((len(rows), most), ABSENT)
    for number, (row, row_signs) in enumerate(zip(rows, known)):
        for index, (point, sign) in enumerate(zip(row, row_signs)):
            place = f"points[{number}][{index}]"
            read[number, index] = torch.tensor(_inside(point, 2, place, size))
            if sign not in (ON, OFF):
                raise ValueError(f"the sign of {place} must be 1 or 0, got {sign!r}")
            read_signs[number, index] = int(sign)
    return read, read_signs


def _read_boxes(boxes: Any, size: tuple[int, int]) -> Tensor:
    rows = _rows(boxes, "boxes", depth=1)
    read = torch.zeros(len(rows), 4)
    for number, row in enumerate(rows):
        left, top, right, bottom = _inside(row, 4, f"boxes[{number}]", size)
        if left >= right or top >= bottom or not _has_area(row):
            raise ValueError(
                f"boxes[{number}] must be left, top, right, bottom with an area, got {row}"
            )
        read[number] = torch.tensor([left, top, right, bottom])
    return read


def _has_area(box: Sequence[float]) -> bool:
    """Whether a box still has an area in single precision."""
    left, top, right, bottom = torch.tensor(box, dtype=torch.float32).tolist()
    return left < right and top < bottom


def _read_masks(masks: Any, name: str, size: tuple[int, int]) -> Tensor:
    try:
        read = masks if isinstance(masks, Tensor) else torch.as_tensor(np.asarray(masks))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be arrays of {size}, the photo's: {error}") from error
    read = read[None] if read.dim() == 2 else read
    if read.dim() != 3 or tuple(read.shape[1:]) != tuple(size):
        raise ValueError(f"wanted {name} of {size}, the photo's, got {tuple(read.shape)}")
    if read.dtype != torch.bool and not ((read == 0) | (read == 1)).all():
        raise ValueError(f"{name} must be bool, or 0 and 1; a probability has to be cut first")
    return read.bool()


def _rows(given: Any, name: str, depth: int) -> list[list[Any]]:
    """Nested lists by object, of one object where there is a level less.

    Args:
        given: What a caller gave.
        name: What messages call it.
        depth: Levels of lists in one object.
    """
    plain = given.tolist() if hasattr(given, "tolist") else _listed(given)
    if not isinstance(plain, list):
        raise ValueError(f"{name} must be lists, an array or a tensor, got {given!r}")
    is_of_objects = all(part == [] for part in plain)  # of which nothing is said
    if not is_of_objects and _depth(plain) < depth:
        raise ValueError(f"{name} must be a list of them, got {given!r}")
    return [plain] if _depth(plain) == depth and not is_of_objects else plain


def _listed(given: Any) -> Any:
    if hasattr(given, "tolist"):
        return given.tolist()
    is_row = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
    return [_listed(part) for part in given] if is_row else given


def _depth(given: Any) -> int:
    return 1 + max(map(_depth, given), default=0) if isinstance(given, list) else 0


def _inside(values: Any, count: int, place: str, size: tuple[int, int]) -> list[float]:
    """Numbers of a point or a box that are finite and in the photo, its border included."""
    is_row = isinstance(values, list) and len(values) == count
    if not is_row or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        raise ValueError(f"{place} must be {count} numbers, got {values!r}")
    height, width = size
    for value, limit in zip(values, (width, height) * (count // 2)):
        if not 0 <= value <= limit:  # nor NaN
            raise ValueError(f"{place} is outside the photo of {width} x {height}: {values}")
    return [float(value) for value in values]
