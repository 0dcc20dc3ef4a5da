"""What SAM's prompt encoder is given: labelled points of a batch of objects, and masks.

Shapes: N objects, P points, g side of the grid of patches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.structures import Frame, Prompt
from freeseg.structures.marks import ABSENT, Marks

# labels of points; from -1 on they are the release's
PADDING = -2  # fills up a row of a batch: no token
NO_POINT = -1  # a token that says there is no box
TOP_LEFT, BOTTOM_RIGHT = 2, 3  # corners of a box
ROUGH_LOGIT = 10.0  # of a rough mask's inside; the release's own masks are of such a size


@dataclass(frozen=True, eq=False)
class PointPrompts:
    """What is said of N objects, in pixels of the padded square.

    Attributes:
        points: [N, P, 2], (x, y).
        labels: int64 [N, P]: 1 on the object, 0 off it, corners and the rest as above.
        mask_logits: [N, 1, 4g, 4g], former answers or rough masks; None where no object has one.
        has_mask: Bool [N]; None: all have one, if there are any.
        phrases: [N, D], unit vectors of CLIP; rows of NaN where there is none. None: nowhere.
    """

    points: Tensor
    labels: Tensor
    mask_logits: Tensor | None = None
    has_mask: Tensor | None = None
    phrases: Tensor | None = None

    def __post_init__(self) -> None:
        rows = {len(value) for value in vars(self).values() if isinstance(value, Tensor)}
        if len(rows) > 1 or self.points.shape[:2] != self.labels.shape:
            given = {key: value for key, value in vars(self).items() if value is not None}
            shapes = {key: tuple(value.shape) for key, value in given.items()}
            raise ValueError(f"prompts are of unlike numbers of objects or points: {shapes}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def there(self) -> Tensor:
        """Bool [N, P], or [N, P + 1] with phrases: which tokens are no padding."""
        is_there = self.labels != PADDING
        if self.phrases is None:
            return is_there
        return torch.cat([is_there, ~self.phrases.isnan().any(1, keepdim=True)], dim=1)

    @property
    def num_tokens(self) -> Tensor:
        """int64 [N], of the sparse tokens of every object."""
        return self.there.sum(1)

    def chunk(self, start: int, stop: int) -> PointPrompts:
        """Those of some objects in a row."""
        return self._mapped(lambda value: value[start:stop])

    def to(self, device: torch.device) -> PointPrompts:
        """On a device."""
        return self._mapped(lambda value: value.to(device))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> PointPrompts:
        return PointPrompts(
            change(self.points),
            change(self.labels),
            None if self.mask_logits is None else change(self.mask_logits),
            None if self.has_mask is None else change(self.has_mask),
            None if self.phrases is None else change(self.phrases),
        )

    @classmethod
    def read(cls, prompt: Prompt, frame: Frame, grid: int) -> PointPrompts:
        """What a prompt about a photo says, but for its phrases.

        Args:
            prompt: Of any kind but everything.
            frame: How what the model saw lies in the photo.
            grid: g.

        Raises:
            ValueError: Logits of a former answer are not of this model's size.
        """
        marks = prompt.marks
        if marks is None:
            marks = Marks.of_nothing(frame.photo_size, len(prompt))
        mask_logits, has_mask = _masks(prompt, marks, frame, 4 * grid)
        return cls.of_marks(
            frame.to_model(marks.points),
            torch.where(marks.signs == ABSENT, PADDING, marks.signs),
            frame.to_model(marks.boxes),
            mask_logits,
            has_mask,
        )

    @classmethod
    def of_marks(
        cls,
        points: Tensor,
        labels: Tensor,
        boxes: Tensor,
        mask_logits: Tensor | None = None,
        has_mask: Tensor | None = None,
        phrases: Tensor | None = None,
    ) -> PointPrompts:
        """The release's tokens: corners of a box, else one that says that there is none.

        Args:
            points: [N, P, 2].
            labels: int64 [N, P].
            boxes: [N, 4], xyxy; rows of NaN where there is none.
            mask_logits: As of the class.
            has_mask: Likewise.
            phrases: Likewise.
        """
        has_box = ~boxes.isnan().any(1)
        has_point = (labels != PADDING).any(1)
        corners = boxes.nan_to_num().unflatten(1, (2, 2))  # [N, 2, 2]
        last = torch.stack(
            [
                torch.where(has_box, TOP_LEFT, torch.where(has_point, NO_POINT, PADDING)),
                torch.where(has_box, BOTTOM_RIGHT, PADDING),
            ],
            dim=1,
        )
        return cls(
            torch.cat([points, corners], dim=1),
            torch.cat([labels, last], dim=1),
            mask_logits,
            has_mask,
            phrases,
        )


def _masks(
    prompt: Prompt, marks: Marks, frame: Frame, side: int
) -> tuple[Tensor | None, Tensor | None]:
    """Mask logits [N, 1, side, side] of a prompt, and which objects have any, bool [N]."""
    if prompt.logits is not None:
        if tuple(prompt.logits.shape[1:]) != (side, side):
            raise ValueError(
                f"logits of a former answer are of {tuple(prompt.logits.shape[1:])}, this model's "
                f"of {(side, side)}: refine answers of the same model"
            )
        return prompt.logits[:, None], ~prompt.logits.isnan().flatten(1).any(1)
    if marks.masks is None:
        return None, None
    rows = [_small(mask, frame, side) for mask in marks.masks]  # one photo at a time
    coverage = torch.stack(rows) if rows else marks.boxes.new_zeros(0, 1, side, side)
    return (2 * coverage - 1) * ROUGH_LOGIT, marks.masks.flatten(1).any(1)


def _small(mask: Tensor, frame: Frame, side: int) -> Tensor:
    """How much of each cell [1, side, side] of the padded square a mask [H, W] covers."""
    left, top, right, bottom = frame.window
    (height, width), (padded_height, padded_width) = frame.model_size, frame.padded_size
    shown = _resized(mask[None, None, top:bottom, left:right].float(), frame.model_size)
    padded = F.pad(shown, (0, padded_width - width, 0, padded_height - height))
    return _resized(padded, (side, side))[0]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False, antialias=True)
