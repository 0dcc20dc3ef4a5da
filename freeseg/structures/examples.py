"""Examples: other pictures with masks, to be followed, and what a system has made of some.

Shapes: M masks, H W size of a picture, S side of a system's square.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import Tensor

from freeseg.structures.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Example:
    """Another picture with masks.

    Attributes:
        image: uint8 [3, H, W], RGB.
        masks: Bool [M, H, W].
        labels: int64 [M] into `vocabulary`; None where masks have no classes.
        vocabulary: The example's own class list.
        ids: int64 [M], which masks of several examples are one object; None: masks of one class
            are one, and those without classes each its own.
    """

    image: Tensor
    masks: Tensor
    labels: Tensor | None = None
    vocabulary: Vocabulary | None = None
    ids: Tensor | None = None

    def __post_init__(self) -> None:
        if self.masks.dim() != 3 or self.masks.shape[1:] != self.image.shape[-2:]:
            raise ValueError(
                f"masks {tuple(self.masks.shape)} of an example do not lie on its image "
                f"{tuple(self.image.shape)}"
            )
        for name in ("labels", "ids"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.masks):
                raise ValueError(f"an example has {len(self.masks)} masks and {len(given)} {name}")
        if (self.labels is None) != (self.vocabulary is None):
            raise ValueError("an example's labels and its vocabulary come together")


@dataclass(frozen=True, eq=False)
class LearnedExample:
    """An example that was learned, which no camera has taken and no hand painted.

    Attributes:
        system: That can be shown it, by the name of its class.
        image: Float [3, S, S], in the system's normalised units.
        target: Float [3, S, S], likewise: the painted picture.
        colours: uint8 [M, 3], RGB, that the target has been learned for, one for every object.
        ids: int64 [M], as of an `Example`; None: the labels say it.
        labels: int64 [M], likewise.
        vocabulary: Likewise.
    """

    system: str
    image: Tensor
    target: Tensor
    colours: Tensor
    ids: Tensor | None = None
    labels: Tensor | None = None
    vocabulary: Vocabulary | None = None

    def __post_init__(self) -> None:
        if self.image.shape != self.target.shape or self.image.dim() != 3:
            raise ValueError(
                f"a learned example is two pictures of one size, got {tuple(self.image.shape)} and "
                f"{tuple(self.target.shape)}"
            )
        rows = {len(each) for each in (self.colours, self.ids, self.labels) if each is not None}
        if len(rows) != 1 or (self.ids is None and self.labels is None):
            raise ValueError("a learned example has a colour, an id or a label for every object")
        if (self.labels is None) != (self.vocabulary is None):
            raise ValueError("an example's labels and its vocabulary come together")


@dataclass(frozen=True, eq=False)
class Enrolled:
    """What a system with its weights has made of examples, for any number of photos.

    Attributes:
        system: The name of its class.
        ids: Of the objects, in the order of a result's rows where a prompt names none.
        labels: int64 of every id into `vocabulary`; None where objects have no classes.
        vocabulary: Of the examples.
        state: Of the model whose weights have made it, which changes with them; None: unknown.
    """

    system: str
    ids: tuple[int, ...]
    labels: tuple[int, ...] | None
    vocabulary: Vocabulary | None
    state: Hashable = field(default=None, kw_only=True)
