"""Which classes of a model the classes of a dataset are: by name; ids and places say nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from freeseg.structures import Vocabulary
from freeseg.structures.class_list import clean_name


@dataclass(frozen=True)
class ClassMatch:
    """Which classes of a model the classes of a dataset are.

    Attributes:
        labels: For every class of the dataset its number in the model, None where it knows none.
        unknown: Names of these.
        absent: Classes of the model that the dataset does not list.
    """

    labels: tuple[int | None, ...]
    unknown: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def is_identity(self) -> bool:
        """Whether both lists are the same classes in the same order."""
        return not self.absent and self.labels == tuple(range(len(self.labels)))


def match_classes(listed: Vocabulary, known: Vocabulary) -> ClassMatch:
    """Finds the classes of a dataset among those of a model, by name.

    Equal names come first. What is left is joined by other spellings: capitals, the Unicode form of
    letters, "-" and "_" for blanks, synonyms, and the words of a dataset's way of writing ("road,
    route", "tree-merged"), where exactly one class of each list answers to them.
    """
    place = {name: label for label, name in enumerate(known.names)}
    labels: list[int | None] = [place.get(name) for name in listed.names]
    taken = {label for label in labels if label is not None}
    owners: dict[str, set[int]] = {}
    for label, spellings in enumerate(_spellings(known)):
        for text in spellings if label not in taken else ():
            owners.setdefault(text, set()).add(label)
    wanted: dict[int, list[int]] = {}
    for index, spellings in enumerate(_spellings(listed)):
        if labels[index] is None:
            answers = set().union(*(owners.get(text, set()) for text in spellings))
            if len(answers) == 1:
                wanted.setdefault(answers.pop(), []).append(index)
    for label, indices in wanted.items():
        if len(indices) == 1:
            labels[indices[0]] = label
    found = set(labels)
    return ClassMatch(
        tuple(labels),
        tuple(name for name, label in zip(listed.names, labels) if label is None),
        tuple(name for label, name in enumerate(known.names) if label not in found),
    )


def with_dataset_ids(known: Vocabulary, listed: Vocabulary, match: ClassMatch) -> Vocabulary:
    """A model's classes with a dataset's ids, kinds and seen flags of those that it lists."""
    ids: list[int | None] = [None] * len(known)
    is_thing, is_seen = list(known.is_thing), [True] * len(known)
    own = listed.dataset_ids or tuple(range(len(listed)))
    for index, label in enumerate(match.labels):
        if label is not None:
            ids[label] = own[index]
            is_thing[label] = listed.is_thing[index]
            is_seen[label] = listed.is_seen is None or listed.is_seen[index]
    return replace(
        known,
        dataset_ids=tuple(ids),
        is_thing=tuple(is_thing),
        is_seen=None if listed.is_seen is None else tuple(is_seen),
    )


def _spellings(vocabulary: Vocabulary) -> list[set[str]]:
    plain = vocabulary.with_plain_texts().synonyms
    return [
        {_spelling(text) for text in (name, *texts, *others)}
        for name, texts, others in zip(vocabulary.names, vocabulary.synonyms, plain)
    ]


def _spelling(text: str) -> str:
    return " ".join(clean_name(text).casefold().replace("_", " ").replace("-", " ").split())
