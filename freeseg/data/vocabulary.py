"""Class lists for photos: what a user typed, or a dataset's name, as a `Vocabulary`."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Sequence
from typing import Union

from freeseg.catalog import dataset_names, dataset_vocabulary
from freeseg.data.categories import load_categories
from freeseg.structures import ClassEntry, Vocabulary, read_class_entries
from freeseg.structures.vocabulary import OTHER, OTHER_TEXTS

ClassSource = Union[Vocabulary, str, "os.PathLike[str]", Sequence[str | ClassEntry]]

logger = logging.getLogger(__name__)

_TABLES = ("coco_panoptic", "coco_stuff", "ade20k", "cityscapes", "camvid", "voc2012")


def read_vocabulary(source: ClassSource) -> Vocabulary:
    """The vocabulary that `source` stands for.

    A class that does not say whether it is a thing or stuff is what COCO, ADE20K, Cityscapes,
    Pascal VOC or CamVid count it as, where one of them knows its name and none disagrees; any
    other is a thing. A class named "other" that is not flagged as a thing is the vocabulary's
    `other`, where it was written, with its usual texts unless synonyms were given.

    A class alone is warned of: classes compete, so it gets all that is found.

    Args:
        source: A vocabulary, the name of a registered dataset, or what `read_class_entries` reads:
            a list, a text or JSON file, or a string such as "car|automobile, sky: stuff".
    """
    vocabulary = named_classes(source)
    if len(vocabulary) == 1 and not isinstance(source, Vocabulary):
        name = vocabulary.names[0]
        logger.warning("all that is found will be %r: add classes of what else may be there", name)
    return vocabulary


def named_classes(source: ClassSource) -> Vocabulary:
    """As `read_vocabulary`, of a list to which others may be added."""
    if isinstance(source, Vocabulary):
        return source
    if isinstance(source, str) and source in dataset_names():
        listed = dataset_vocabulary(source)
        if listed is None:
            raise ValueError(f"dataset {source} has no class names in its metadata")
        return listed.with_plain_texts()
    entries = [
        dataclasses.replace(entry, is_thing=not _is_stuff(entry))
        if entry.is_thing is None
        else entry
        for entry in read_class_entries(source)
    ]
    return _with_written_other(Vocabulary.from_classes(entries))


def _is_stuff(entry: ClassEntry) -> bool:
    is_known = any(text.casefold() in _stuff_names() for text in entry.texts)
    return is_known or entry.name.casefold() == OTHER


def _with_written_other(vocabulary: Vocabulary) -> Vocabulary:
    kinds = [
        (name.casefold(), is_thing) for name, is_thing in zip(vocabulary.names, vocabulary.is_thing)
    ]
    if (OTHER, False) not in kinds:
        return vocabulary
    place = kinds.index((OTHER, False))
    written = vocabulary.synonyms[place]
    rest = [index for index in range(len(vocabulary)) if index != place]
    whole = vocabulary.select(rest).with_other(written if len(written) > 1 else OTHER_TEXTS)
    return whole.select([*range(place), len(rest), *range(place, len(rest))])


@functools.cache
def _stuff_names() -> frozenset[str]:
    """Names and their plain forms that some table counts as stuff and none as a thing."""
    known: dict[bool, set[str]] = {True: set(), False: set()}
    for table in _TABLES:
        rows = load_categories(table)
        names = tuple(row.name for row in rows)
        plain = Vocabulary(names, (True,) * len(names)).with_plain_texts()
        for row, texts in zip(rows, plain.synonyms):
            known[row.is_thing].update(text.casefold() for text in (row.name, *texts))
    return frozenset(known[False] - known[True])
