"""Tunes an example of SegGPT on a data set: its classes have one colour each, for good.

Shapes: B queries, S side of a square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from detectron2.data import transforms as T
from freeseg.catalog import listed_vocabulary
from freeseg.config import completed
from freeseg.data.context_views import View, read_view
from freeseg.data.contexts import view_augmentations
from freeseg.data.few_shot import class_numbers
from freeseg.data.mapper import shared_ignore_label
from freeseg.data.pairs import Pair, PairDataset, PairSet
from freeseg.data.photos import PhotoReader
from freeseg.data.records import dataset_records
from freeseg.structures import LearnedExample, Vocabulary
from freeseg.systems.seggpt import SegGPT
from freeseg.systems.seggpt.colours import choose_colours
from freeseg.systems.seggpt.painting import normalised, paint
from freeseg.systems.seggpt.tuner import PaintedQueries, TuningSettings, mean_loss, tune_example

CANDIDATES = 16  # photos that are drawn, of which those that show most classes are the start
JUDGED = 32  # queries by which the start and the result are compared
JUDGED_FROM = 2**40  # their positions, far behind those of all steps


@dataclass(frozen=True, eq=False)
class TunedExample:
    """What a tuning has made.

    Attributes:
        example: That was learned.
        before: Mean loss of the start on views of the set that no step has seen.
        after: Of the result, on the same ones.
    """

    example: LearnedExample
    before: float
    after: float


@dataclass(frozen=True)
class TuningJob:
    """What is tuned on.

    Attributes:
        dataset: A registered set with any annotation; instances of one class are one mask.
        classes: Names of those that get a colour, in their order; empty: all of the set.
        start: Photos of which the example is the mean at first.
        settings: Of the optimizer.
    """

    dataset: str
    classes: tuple[str, ...] = ()
    start: int = 1
    settings: TuningSettings = field(default_factory=TuningSettings)

    def __post_init__(self) -> None:
        if not 1 <= self.start <= CANDIDATES:
            raise ValueError(f"start must be from 1 to {CANDIDATES}, got {self.start}")

    def run(self, cfg: Any, model: SegGPT) -> TunedExample:
        """Tunes.

        Args:
            cfg: How photos are read and views are drawn, see INPUT.CONTEXT.
            model: That is shown the example.

        Raises:
            ValueError: The set has not these classes, or a photo of each; the model paints fewer
                at once.
        """
        queries = ClassQueries(completed(cfg), self, model)
        start, size = queries.start(), self.settings.queries
        judged = queries.batches(JUDGED_FROM, JUDGED)
        before = mean_loss(model, start, judged)
        batches = queries.batches(0, self.settings.steps * size)
        example = tune_example(model, start, batches, self.settings)
        return TunedExample(example, before, mean_loss(model, example, judged))


class ClassQueries:
    """Views of a set, painted in the colours of its classes; a sequence by the seed."""

    def __init__(self, cfg: Any, job: TuningJob, model: SegGPT) -> None:
        """See `TuningJob.run`."""
        self._side, self._size = model.network.sizes.side, job.settings.queries
        self._num_start, self._workers = job.start, cfg.DATALOADER.NUM_WORKERS
        self._background = model.context_training.background_weight
        self._system = type(model).__name__
        listed = listed_vocabulary(job.dataset)
        self._labels = _labels(listed, job, model.max_colours)
        self._vocabulary = Vocabulary(
            tuple(listed.names[label] for label in self._labels),
            tuple(listed.is_thing[label] for label in self._labels),
        )
        self._colours = choose_colours(len(self._labels))
        self._void = shared_ignore_label([job.dataset])
        self._reader = PhotoReader.from_config(cfg)
        self._augmentations = T.AugmentationList(view_augmentations(cfg, self._side))
        self._least_area = cfg.INPUT.CONTEXT.LEAST_AREA
        pairs = PairSet.of(
            job.dataset,
            dataset_records(job.dataset),
            listed,
            classes=self._labels,
            ignore_label=self._void,
        )
        self._views = PairDataset([pairs], self._query, job.settings.seed)

    def batches(self, first: int, count: int) -> torch_data.DataLoader[PaintedQueries]:
        """The queries from a position on, B at a time; the last ones may be fewer.

        Classes are drawn uniformly, then a photo that shows the class.
        """
        return torch_data.DataLoader(
            torch_data.Subset(self._views, range(first, first + count)),
            batch_size=self._size,
            num_workers=self._workers,
            collate_fn=_stacked,
        )

    def start(self) -> LearnedExample:
        """The mean of the drawn photos that show most of the classes, and of their paintings."""
        drawn = [self._views.pair_at(JUDGED_FROM, number).record for number in range(CANDIDATES)]
        different = {record["file_name"]: record for record in drawn}
        whole = T.AugmentationList([T.Resize((self._side, self._side))])
        views = [self._view(record, whole) for record in different.values()]
        views.sort(key=lambda view: -len(view.ids))  # stable: as they were drawn
        painted = [self._painted(view) for view in views[: self._num_start]]
        shown = _stacked(painted)
        return LearnedExample(
            self._system,
            shown.pictures.mean(0),
            shown.truth.mean(0),
            self._colours,
            labels=torch.arange(len(self._labels)),
            vocabulary=self._vocabulary,
        )

    def _query(self, pair: Pair) -> tuple[Tensor, Tensor, Tensor] | None:
        """None of a view that shows none of the classes."""
        view = self._view(pair.record, self._augmentations)
        return self._painted(view) if view.seen(self._least_area) else None

    def _view(self, record: Any, augmentations: T.AugmentationList) -> View:
        """With the masks of the classes alone."""
        view = read_view(
            record,
            "semantic",
            augmentations=augmentations,
            reader=self._reader,
            ignore_label=self._void,
        )
        return view.only([one for one in view.ids.tolist() if one in self._labels])

    def _painted(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """A view and its painting, uint8 [3, S, S] each, and weights of pixels [1, S, S]."""
        masks = torch.from_numpy(view.masks)
        places = torch.tensor([self._labels.index(one) for one in view.ids.tolist()]).long()
        order = masks.flatten(1).sum(1).argsort(descending=True, stable=True)  # small ones on top
        target = paint(masks[order], self._colours[places[order]], (self._side, self._side))
        weights = torch.full(masks.shape[1:], self._background)
        weights[masks.any(0)] = 1.0
        weights[torch.from_numpy(view.is_void)] = 0.0
        image = torch.from_numpy(view.image.transpose(2, 0, 1).copy())
        return image, target, weights[None]


def _labels(listed: Vocabulary, job: TuningJob, most: int) -> list[int]:
    """Of the classes that get a colour.

    Raises:
        ValueError: There are no such classes, or too many.
    """
    wanted = class_numbers(listed, list(dict.fromkeys(job.classes)))
    labels = list(range(len(listed))) if wanted is None else wanted
    if len(labels) > most:
        raise ValueError(
            f"{len(labels)} classes of {job.dataset}, and the model paints {most} at once: name "
            "fewer, or set MODEL.SEGGPT.MAX_COLOURS"
        )
    return labels


def _stacked(queries: Sequence[tuple[Tensor, Tensor, Tensor]]) -> PaintedQueries:
    images, targets, weights = (torch.stack(each) for each in zip(*queries))
    return PaintedQueries(normalised(images), normalised(targets), weights.expand_as(targets))
