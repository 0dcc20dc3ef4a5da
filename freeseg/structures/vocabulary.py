"""The class list a model predicts: names, and which of them are countable things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, as_tensor
from torch import bool as torch_bool


@dataclass(frozen=True)
class Vocabulary:
    """An ordered class list; the position of a class is its contiguous id.

    Attributes:
        names: One display name per class.
        is_thing: One flag per class; True for countable things, False for amorphous stuff.
        is_seen: One flag per class, True for those that are trained; None where nobody knows.
    """

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    is_seen: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.names) != len(self.is_thing):
            raise ValueError(
                f"wanted one thing flag per class, got {len(self.names)} names "
                f"and {len(self.is_thing)} flags"
            )

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_metadata(cls, metadata: Any, num_classes: int) -> Vocabulary:
        """Reads a Detectron2 ``Metadata``.

        Names come from ``stuff_classes`` where it covers all classes (the convention of panoptic
        and semantic datasets here), else from ``thing_classes``, else they are numbered. Things
        are the values of ``thing_dataset_id_to_contiguous_id``; without it, a dataset that lists
        only things has only things, and any other has none.
        """
        stuff = list(metadata.get("stuff_classes") or ())
        things = list(metadata.get("thing_classes") or ())
        names = next(
            (known for known in (stuff, things) if len(known) == num_classes),
            [f"class {index}" for index in range(num_classes)],
        )
        mapping = metadata.get("thing_dataset_id_to_contiguous_id")
        if mapping is not None:
            thing_ids = set(mapping.values())
        else:
            thing_ids = set(range(num_classes)) if things and not stuff else set()
        flags = metadata.get("trainable_flag")
        is_seen = tuple(map(bool, flags)) if flags and len(flags) == num_classes else None
        is_thing = tuple(index in thing_ids for index in range(num_classes))
        return cls(tuple(names), is_thing, is_seen)

    @classmethod
    def of_dataset(cls, metadata: Any) -> Vocabulary | None:
        """All classes that a Detectron2 ``Metadata`` names, None where it names none."""
        names = metadata.get("stuff_classes") or metadata.get("thing_classes")
        return cls.from_metadata(metadata, len(names)) if names else None

    def select(self, classes: Sequence[int]) -> Vocabulary:
        """The vocabulary of some classes, in the given order."""
        return Vocabulary(
            tuple(self.names[index] for index in classes),
            tuple(self.is_thing[index] for index in classes),
            None if self.is_seen is None else tuple(self.is_seen[index] for index in classes),
        )

    def seen_classes(self) -> list[int]:
        """Ids of the classes that may be trained: all where nobody knows which are seen."""
        return [index for index in range(len(self)) if self.is_seen is None or self.is_seen[index]]

    def unseen_classes(self) -> list[int]:
        """Ids of the classes that were not trained: all where nobody knows."""
        return [
            index for index in range(len(self)) if self.is_seen is None or not self.is_seen[index]
        ]

    def thing_mask(self, like: Tensor) -> Tensor:
        """Bool [K] on the device of `like`."""
        return as_tensor(self.is_thing, dtype=torch_bool, device=like.device)

    def seen_mask(self, like: Tensor) -> Tensor:
        """Bool [K] on the device of `like`; nothing is seen where nobody knows."""
        flags = self.is_seen or (False,) * len(self)
        return as_tensor(flags, dtype=torch_bool, device=like.device)
