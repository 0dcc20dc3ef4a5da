"""The class list a model predicts: names, other words for them, and what is known about each.

Shapes: K classes, T texts (all names and synonyms), E further columns such as "no object".
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, as_tensor
from torch import bool as torch_bool

from freeseg.structures.class_list import ClassLike, clean_name, read_class_entries

OTHER = "other"
OTHER_TEXTS = ("other", "background")


@dataclass(frozen=True)
class Vocabulary:
    """An ordered class list; the position of a class is its contiguous id.

    Attributes:
        names: One display name per class.
        is_thing: One flag per class; True for countable things, False for amorphous stuff.
        is_seen: One flag per class, True where a model was trained on it; None where nobody said.
        synonyms: The texts that stand for each class, which a text encoder reads; by default the
            name alone. A region belongs to a class as much as to the best of its texts.
        other: The class for all that is none of the others, or None.
        dataset_ids: The id of each class in the files of the dataset that it comes from, None for
            a class that the dataset does not have; None where there is no dataset. Ids say nothing
            about what a class is: two lists are equal whatever theirs are.
    """

    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    is_seen: tuple[bool, ...] | None = None
    synonyms: tuple[tuple[str, ...], ...] = ()
    other: int | None = None
    dataset_ids: tuple[int | None, ...] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.is_thing):
            raise ValueError(
                f"wanted one thing flag per class, got {len(self.names)} names "
                f"and {len(self.is_thing)} flags"
            )
        if not self.synonyms:
            object.__setattr__(self, "synonyms", tuple((name,) for name in self.names))
        for what, values in (
            ("tuple of synonyms", self.synonyms),
            ("seen flag", self.is_seen),
            ("dataset id", self.dataset_ids),
        ):
            if values is not None and len(values) != len(self.names):
                raise ValueError(
                    f"wanted one {what} per class, got {len(self.names)} names and {len(values)}"
                )
        if not all(self.synonyms):
            empty = self.names[self.synonyms.index(())]
            raise ValueError(f"class {empty!r} has no text that stands for it")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_classes(cls, source: str | os.PathLike[str] | Sequence[ClassLike]) -> Vocabulary:
        """What a user typed: a list, a text or JSON file, or "car|automobile, sky: stuff".

        See `freeseg.structures.class_list` for how classes are written. A class is a thing unless
        it says "stuff". Seen flags are known only if some class has one; those without are unseen.
        """
        entries = read_class_entries(source)
        is_any_flagged = any(entry.is_seen is not None for entry in entries)
        return cls(
            tuple(entry.name for entry in entries),
            tuple(entry.is_thing is not False for entry in entries),
            tuple(bool(entry.is_seen) for entry in entries) if is_any_flagged else None,
            tuple(entry.texts for entry in entries),
        )

    @classmethod
    def from_metadata(cls, metadata: Any, num_classes: int) -> Vocabulary:
        """Reads a Detectron2 ``Metadata``.

        Names come from ``stuff_classes`` where it covers all classes (the convention of panoptic
        and semantic datasets here), else from ``thing_classes``, else they are numbered. Things
        are the values of ``thing_dataset_id_to_contiguous_id``; without it those that
        ``thing_classes`` names. Seen classes are flagged in
        ``trainable_flag``, ``class_texts`` has the texts of every class where its name is none; ids
        are those of the two mappings where they cover all classes.
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
            named = set(things)
            thing_ids = {label for label, name in enumerate(names) if name in named}
        flags = metadata.get("trainable_flag")
        texts = metadata.get("class_texts") or ()
        return cls(
            tuple(names),
            tuple(index in thing_ids for index in range(num_classes)),
            is_seen=tuple(map(bool, flags)) if flags and len(flags) == num_classes else None,
            synonyms=tuple(map(tuple, texts)) if len(texts) == num_classes else (),
            dataset_ids=_dataset_ids(metadata, num_classes),
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """All T texts, class by class."""
        return tuple(text for texts in self.synonyms for text in texts)

    def with_other(self, texts: Sequence[str] = OTHER_TEXTS) -> Vocabulary:
        """This list and a last class, stuff, for all that is none of the others."""
        taken = {text.casefold() for text in (*self.names, *self.texts)}
        own = tuple(text for text in texts if text.casefold() not in taken)
        if OTHER in taken or not own:
            raise ValueError(f"the class list has {OTHER!r} (or all of {texts!r}) already")
        return Vocabulary(
            (*self.names, OTHER),
            (*self.is_thing, False),
            None if self.is_seen is None else (*self.is_seen, False),
            (*self.synonyms, own),
            other=len(self),
            dataset_ids=None if self.dataset_ids is None else (*self.dataset_ids, None),
        )

    def with_seen(self, seen: Collection[str]) -> Vocabulary:
        """This list with a class flagged as seen where one of its texts is among `seen`."""
        known = {clean_name(text).casefold() for text in seen}
        flags = tuple(
            any(clean_name(text).casefold() in known for text in (name, *texts))
            for name, texts in zip(self.names, self.synonyms)
        )
        return replace(self, is_seen=flags)

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
            tuple(self.synonyms[index] for index in classes),
            other=classes.index(self.other) if self.other in classes else None,
            dataset_ids=None
            if self.dataset_ids is None
            else tuple(self.dataset_ids[index] for index in classes),
        )

    def text_rows(self, classes: Sequence[int]) -> list[int]:
        """Places in `texts` of the texts of some classes, in the given order."""
        ends = list(itertools.accumulate(len(texts) for texts in self.synonyms))
        return [
            row
            for index in classes
            for row in range(ends[index] - len(self.synonyms[index]), ends[index])
        ]

    def seen_classes(self) -> list[int]:
        """Ids of the classes that may be trained: all where nobody knows which are seen."""
        return [index for index in range(len(self)) if self.is_seen is None or self.is_seen[index]]

    def unseen_classes(self) -> list[int]:
        """Ids of the classes that were not trained: all where nobody knows."""
        return [
            index for index in range(len(self)) if self.is_seen is None or not self.is_seen[index]
        ]

    def with_plain_texts(self) -> Vocabulary:
        """This list with texts as a person would say them, under the same display names.

        Datasets write several words into one name ("road, route") and mark classes ("tree-merged",
        "wall-other", "ceiling-other-merged"); the words become synonyms, the marks go.
        """
        return replace(self, synonyms=tuple(_plain(texts) for texts in self.synonyms))

    def thing_mask(self, like: Tensor) -> Tensor:
        """Bool [K] on the device of `like`."""
        return as_tensor(self.is_thing, dtype=torch_bool, device=like.device)

    def seen_mask(self, like: Tensor) -> Tensor:
        """Bool [K] on the device of `like`; where nobody said, nothing is seen."""
        flags = self.is_seen or (False,) * len(self)
        return as_tensor(flags, dtype=torch_bool, device=like.device)

    def merge_synonyms(self, logits: Tensor) -> Tensor:
        """Logits of classes [..., K + E] from those of texts [..., T + E]: each class's best text.

        Columns after the texts' stay as they are.
        """
        num_texts = sum(map(len, self.synonyms))
        if logits.shape[-1] < num_texts:
            raise ValueError(f"wanted logits of {num_texts} texts, got {logits.shape[-1]} columns")
        if num_texts == len(self):
            return logits
        text_logits, rest = logits.split([num_texts, logits.shape[-1] - num_texts], dim=-1)
        owners = torch.arange(len(self), device=logits.device).repeat_interleave(
            as_tensor([len(texts) for texts in self.synonyms], device=logits.device)
        )
        start = logits.new_full((*logits.shape[:-1], len(self)), -torch.inf)
        best = start.scatter_reduce(-1, owners.expand_as(text_logits), text_logits, "amax")
        return torch.cat([best, rest], dim=-1)  # [..., K + E]


def _dataset_ids(metadata: Any, num_classes: int) -> tuple[int, ...] | None:
    mapping: dict[int, int] = {}
    for kind in ("stuff", "thing"):
        mapping.update(metadata.get(f"{kind}_dataset_id_to_contiguous_id") or {})
    id_of = {label: dataset_id for dataset_id, label in mapping.items()}
    if not num_classes or set(id_of) != set(range(num_classes)):
        return None
    return tuple(id_of[label] for label in range(num_classes))


_MARKS = ("-merged", "-other", "-stuff")


def _plain(texts: Sequence[str]) -> tuple[str, ...]:
    plain = []
    for text in texts:
        for part in text.split(","):
            name = part.strip()
            for mark in _MARKS:
                name = name.removesuffix(mark)
            plain.append(name.replace("-", " ").strip())
    return tuple(dict.fromkeys(filter(None, plain))) or tuple(texts)
