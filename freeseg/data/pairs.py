"""Pairs for in-context systems: a record, and references that show a class of it.

As in the recipes of SegGPT (arXiv 2304.03284) and SINE (arXiv 2410.04842): a set, a class of it and
a record that shows the class are drawn, then references: other records that show it, or further
views of the same photo. What a position of training shows follows from (seed, position) alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils import data as torch_data

from detectron2.data import DatasetFromList
from freeseg.catalog import dataset_metadata
from freeseg.classes import trained_vocabulary
from freeseg.config import completed
from freeseg.data.loader import ENDLESS
from freeseg.data.mapper import shared_ignore_label
from freeseg.data.mapper_registry import Record
from freeseg.data.segment_samples import labels_on_pngs, require_listed_class, segments_of
from freeseg.structures import DATASET_KEY, Vocabulary

DRAW_STREAM, VIEW_STREAM = 2, 3  # keep what is drawn apart from how it is augmented
MAX_DRAWS = 100  # of one position, until the mapper can use a pair

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PairSet:
    """Records with an index of the classes that they show; labels are the set's own.

    Attributes:
        name: Of the data set.
        records: R of them.
        vocabulary: The classes that labels mean.
        places: For every class that is drawn, the places of its records in `records`.
        weight: How often the set is drawn, in proportion to those of other sets.
    """

    name: str
    records: Sequence[Record]
    vocabulary: Vocabulary
    places: Mapping[int, Places]
    weight: float = 1.0

    def __post_init__(self) -> None:
        empty = [label for label, places in self.places.items() if len(places) == 0]
        if empty or not self.places:
            shown = ", ".join(self.vocabulary.names[label] for label in empty) or "any class"
            raise ValueError(f"{self.name} has no record that shows {shown}")
        if not self.weight > 0:
            raise ValueError(f"the weight of {self.name} must be above 0, got {self.weight}")

    @classmethod
    def of(
        cls,
        name: str,
        records: Sequence[Record],
        vocabulary: Vocabulary,
        *,
        task: str = "semantic",
        classes: Sequence[int] | None = None,
        ignore_label: int = 255,
        weight: float = 1.0,
        only_shown: bool = False,
    ) -> PairSet:
        """Looks up which classes the records show; semantic PNGs are read to know.

        Args:
            name: Of the data set, for messages.
            records: With any annotation that training reads.
            vocabulary: Their classes.
            task: Whose targets count: "semantic", "instance" (no stuff) or "panoptic"; the latter
                two without crowds.
            classes: Labels that are drawn; None: all of the vocabulary.
            ignore_label: Of semantic maps.
            weight: See the class.
            only_shown: Leave out classes that no record shows; else they are an error.

        Raises:
            ValueError: No record shows one of the classes, or any; or one shows a class beyond the
                vocabulary; names it.
        """
        wanted = range(len(vocabulary)) if classes is None else classes
        found: dict[int, list[int]] = {label: [] for label in wanted}
        for place, on_png in enumerate(labels_on_pngs(records, ignore_label)):
            segments = segments_of(records[place], task, on_png)
            for label in sorted({segment["segment_class"] for segment in segments}):
                require_listed_class(records[place], label, len(vocabulary))
                if label in found:
                    found[label].append(place)
        places = {
            label: np.array(rows, dtype=np.int64)
            for label, rows in found.items()
            if rows or not only_shown
        }
        listed = DatasetFromList(list(records), copy=False)
        return cls(name, listed, vocabulary, places, weight)


@dataclass(frozen=True, eq=False)
class Pair:
    """A record and K references for it; all show the class `label` before they are augmented.

    "seed" and "position" of every record are its own: a mapper that augments by these two gives
    each another view, also where two records are one photo.
    """

    record: Record
    references: tuple[Record, ...]
    label: int
    vocabulary: Vocabulary
    set_name: str
    seed: int
    position: int


PairMapper = Callable[[Pair], Any]


class PairDataset(torch_data.Dataset):  # type: ignore[type-arg]
    """The mapped pair at a position of an endless sequence, a pure function of (seed, position).

    A set is drawn by its weight, a class of it uniformly, and a record of the class uniformly. A
    mapper that finds that its views do not show enough returns None: another pair is drawn.
    """

    def __init__(
        self,
        sets: Sequence[PairSet],
        mapper: PairMapper,
        seed: int,
        *,
        num_references: int = 1,
        same_photo_probability: float = 0.5,
    ) -> None:
        """Defines the sequence.

        Args:
            sets: Drawn by their weights.
            mapper: From a `Pair` to a sample, or None.
            seed: Of the run.
            num_references: K of a pair.
            same_photo_probability: That the references of a pair are views of its own photo. They
                are always that where no other record shows the class; where fewer than K others
                do, these come again, in other views.
        """
        if not sets:
            raise ValueError("pairs need at least one set")
        if num_references < 1:
            raise ValueError(f"num_references must be 1 or more, got {num_references}")
        if not 0 <= same_photo_probability <= 1:
            raise ValueError(
                f"same_photo_probability must be from 0 to 1, got {same_photo_probability}"
            )
        self._sets = tuple(sets)
        weights = np.array([each.weight for each in sets])
        self._bounds = weights.cumsum()[:-1] / weights.sum()  # between the sets, in 0..1
        self._mapper = mapper
        self._seed = seed
        self._num_references = num_references
        self._same_photo_probability = same_photo_probability

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, position: int) -> Any:
        for attempt in range(MAX_DRAWS):
            pair = self.pair_at(int(position), attempt)
            sample = self._mapper(pair)
            if sample is not None:
                return sample
        raise ValueError(
            f"none of {MAX_DRAWS} pairs that were drawn for one sample can be used; the last was "
            f"{pair.record['file_name']} with the class {pair.vocabulary.names[pair.label]} of "
            f"{pair.set_name}"
        )

    def pair_at(self, position: int, attempt: int = 0) -> Pair:
        """The pair of a position; of later attempts, what is drawn in its place."""
        key = [self._seed, position, DRAW_STREAM, attempt]
        draw = np.random.RandomState(np.random.SeedSequence(key).generate_state(4))
        drawn = self._sets[int(np.searchsorted(self._bounds, draw.random_sample(), side="right"))]
        labels = sorted(drawn.places)
        label = labels[draw.randint(len(labels))]
        places = drawn.places[label]
        first = draw.randint(len(places))
        others = draw.permutation(len(places) - 1) + 1  # steps from the first
        if draw.random_sample() < self._same_photo_probability or len(others) == 0:
            others = np.zeros(1, dtype=np.int64)
        steps = np.resize(others, self._num_references)
        chosen = [int(places[(first + step) % len(places)]) for step in (0, *steps)]
        views = [
            {**drawn.records[place], **self._view(position, attempt, number)}
            for number, place in enumerate(chosen)
        ]
        return Pair(
            record=views[0],
            references=tuple(views[1:]),
            label=int(label),
            vocabulary=drawn.vocabulary,
            set_name=drawn.name,
            seed=self._seed,
            position=position,
        )

    def _view(self, position: int, attempt: int, number: int) -> dict[str, int]:
        """By what the mapper augments a record of a pair, the reference `number` from 1 on."""
        key = [self._seed, position, VIEW_STREAM, attempt, number]
        return {"seed": int(np.random.SeedSequence(key).generate_state(1)[0]), "position": position}


def pair_sets(
    cfg: Any,
    records: Sequence[Record],
    *,
    task: str = "semantic",
    weights: Sequence[float] | None = None,
    only_shown: bool = False,
) -> list[PairSet]:
    """The training sets of a configuration for `PairDataset`.

    Sets with their own label lists (DATASETS.MIX_LABEL_SETS) are drawn apart; else all are one set
    in the class numbers of the first.

    Args:
        cfg: A config with the freeseg keys.
        records: Of `train_records`.
        task: See `PairSet.of`.
        weights: Of every set; None: equal.
        only_shown: See `PairSet.of`.

    Raises:
        ValueError: As `PairSet.of`; a set names no classes; weights are of another number.
    """
    cfg = completed(cfg)
    names = list(cfg.DATASETS.TRAIN)
    if cfg.DATASETS.MIX_LABEL_SETS:
        groups = {name: [r for r in records if r[DATASET_KEY] == name] for name in names}
        lists = {name: Vocabulary.of_dataset(dataset_metadata(name)) for name in names}
    else:
        groups, lists = {names[0]: list(records)}, {names[0]: trained_vocabulary(cfg)}
    shares = [1.0] * len(groups) if weights is None else list(weights)
    if len(shares) != len(groups):
        raise ValueError(
            f"{len(shares)} weights for {len(groups)} sets of pairs: {', '.join(groups)}"
        )
    void = shared_ignore_label(names)
    sets = []
    for (name, group), weight in zip(groups.items(), shares):
        vocabulary = lists[name]
        if vocabulary is None:
            raise ValueError(f"{name} names no classes to draw pairs by")
        pairs = PairSet.of(
            name,
            group,
            vocabulary,
            task=task,
            ignore_label=void,
            weight=weight,
            only_shown=only_shown,
        )
        sets.append(pairs)
    return sets
