"""Train loader that can start at any position of an endless, fixed sequence of samples.

Positions count the samples of all processes since the start of training. Which image a position
shows and how it is augmented depend on (seed, position) alone, so a run that is killed and resumed,
or that spreads the same global batch over more processes or workers, trains on the same samples.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils import data as torch_data

from detectron2.data import (
    DatasetFromList,
    build_detection_test_loader,
    build_detection_train_loader,
)
from detectron2.utils import comm
from freeseg.catalog import dataset_metadata, dataset_vocabulary
from freeseg.classes import trained_vocabulary
from freeseg.config import completed, training_tasks
from freeseg.data.datasets.catalog import ignore_label_of
from freeseg.data.datasets.clips import CLIPS
from freeseg.data.datasets.custom import register_custom
from freeseg.data.mapper import shared_ignore_label
from freeseg.data.mapper_registry import Mapper, Record, SampleMaker, build_mapper
from freeseg.data.records import dataset_records, match_or_refuse, renumbered
from freeseg.data.segment_samples import SEGMENT_MAPPERS, segment_records
from freeseg.data.truth_mapper import TruthMapper
from freeseg.structures import DATASET_KEY, Vocabulary

ENDLESS = 2**62  # nominal length of the sequence of positions


def evenly_spread(records: Sequence[Record], limit: int) -> Sequence[Record]:
    """At most `limit` of the records, in steps of one length; all of them when it is 0."""
    return records[:: max(1, len(records) // limit)][:limit] if limit else records


class PositionDataset(torch_data.Dataset):  # type: ignore[type-arg]
    """The mapped sample at a position: one shuffled pass over the records after another."""

    def __init__(self, records: Any, mapper: Mapper, seed: int) -> None:
        if len(records) == 0:
            raise ValueError("the training sets have no images")
        self._records = records
        self._mapper = mapper
        self._seed = seed

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, position: int) -> Any:
        epoch, place = divmod(int(position), len(self._records))
        index = int(_shuffled(self._seed, epoch, len(self._records))[place])
        record = {**self._records[index], "seed": self._seed, "position": int(position)}
        return self._mapper(record)


class PositionSampler(torch_data.Sampler):  # type: ignore[type-arg]
    """Yields this process's positions: of every global batch its own contiguous share.

    Set `start` before the first iteration to the number of samples already trained on: iterations
    * global batch size, where that was always the same.
    """

    def __init__(self, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if batch_size <= 0 or batch_size % world_size:
            raise ValueError(
                f"the global batch size ({batch_size}) must be a positive multiple of the number "
                f"of processes ({world_size})"
            )
        self.start = 0
        self.batch_size = batch_size
        self._share = batch_size // world_size
        self._offset = rank * self._share

    def __len__(self) -> int:
        return ENDLESS

    def __iter__(self) -> Iterator[int]:
        for batch_start in range(self.start, ENDLESS, self.batch_size):
            first = batch_start + self._offset
            yield from range(first, first + self._share)


class TrainLoader:
    """Detectron2's train loader with its sampler at hand, so that a trainer can set the start."""

    def __init__(self, loader: Any, sampler: PositionSampler, dataset: Any) -> None:
        self.loader_sampler = sampler
        self.dataset = dataset
        self._loader = loader

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self._loader)


def build_train_loader(
    cfg: Any,
    mapper: Mapper | None = None,
    *,
    records: Sequence[Record] | None = None,
    seed: int | None = None,
    start_iter: int = 0,
) -> TrainLoader:
    """Endless loader over DATASETS.TRAIN, from the batch of iteration `start_iter` on.

    Args:
        cfg: a config with the freeseg keys.
        mapper: default the one that INPUT.DATASET_MAPPER_NAME names; a `SampleMaker` among them
            says itself what a position shows.
        records: default the records of DATASETS.TRAIN.
        seed: default cfg.SEED, or one random seed for all processes if that is negative.
        start_iter: may also be set later, as a number of samples: `loader_sampler.start`.
    """
    cfg = completed(cfg)
    register_custom(cfg.DATASETS.CUSTOM)
    if seed is None:
        seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    if records is None:
        records = train_records(cfg)
    if cfg.INPUT.DATASET_MAPPER_NAME in SEGMENT_MAPPERS:
        records = _segments(cfg, records)
    mapper = mapper or build_mapper(cfg, True)
    dataset = (
        mapper.make_dataset(records, seed)
        if isinstance(mapper, SampleMaker)
        else PositionDataset(DatasetFromList(list(records), copy=False), mapper, seed)
    )
    sampler = PositionSampler(cfg.SOLVER.IMS_PER_BATCH, comm.get_rank(), comm.get_world_size())
    sampler.start = start_iter * cfg.SOLVER.IMS_PER_BATCH
    loader = build_detection_train_loader(
        dataset,
        mapper=None,
        sampler=sampler,
        total_batch_size=cfg.SOLVER.IMS_PER_BATCH,
        aspect_ratio_grouping=False,  # grouping reorders samples and cannot start in the middle
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    return TrainLoader(loader, sampler, dataset)


def build_test_loader(
    cfg: Any, dataset_name: str, mapper: Mapper | None = None, *, truth_task: str = ""
) -> Any:
    """Detectron2's test loader with the test side of the mapper that the configuration names.

    Its images are to be segmented into the classes of their dataset, where that names any; a model
    of a closed set has its own.

    Args:
        cfg: a config with the freeseg keys.
        dataset_name: of a registered dataset.
        mapper: default the one that INPUT.DATASET_MAPPER_NAME names.
        truth_task: the task whose ground truth inputs have beside the photo, see `TruthMapper`;
            "" for none.
    """
    cfg = completed(cfg)
    register_custom(cfg.DATASETS.CUSTOM)
    if mapper is None and dataset_metadata(dataset_name).get("evaluator_type") == CLIPS:
        mapper = dict  # a clip is read frame by frame, while it is judged
    elif mapper is None:
        mapper = build_mapper(cfg, False)
        vocabulary = dataset_vocabulary(dataset_name)
        if vocabulary is not None:
            mapper = _WithVocabulary(mapper, vocabulary)
    if truth_task:
        mapper = TruthMapper(mapper, truth_task, ignore_label_of(dataset_name))
    records = dataset_records(dataset_name, merge_twins=cfg.DATASETS.MERGE_TWINS)
    return build_detection_test_loader(
        records, mapper=mapper, num_workers=cfg.DATALOADER.NUM_WORKERS
    )


@dataclass(frozen=True)
class _WithVocabulary:
    """Says into which classes the photos of a test mapper are to be segmented."""

    mapper: Mapper
    vocabulary: Vocabulary

    def __call__(self, record: Mapping[str, Any]) -> Record:
        return {"vocabulary": self.vocabulary, **self.mapper(dict(record))}


def _segments(cfg: Any, records: Sequence[Record]) -> list[Record]:
    """Samples of the prompt stage: single segments of the classes that may be seen."""
    vocabulary = dataset_vocabulary(cfg.DATASETS.TRAIN[0])
    if vocabulary is None:
        raise ValueError(f"{cfg.DATASETS.TRAIN[0]} names no classes to learn prompts for")
    seen = set(vocabulary.seen_classes())
    return segment_records(
        records,
        training_tasks(cfg),
        [index in seen for index in range(len(vocabulary))],
        cfg.DATASETS.SAMPLE_PER_CLASS,
        cfg.DATASETS.SAMPLE_SEED,
        shared_ignore_label(cfg.DATASETS.TRAIN),
    )


def train_records(cfg: Any) -> list[Record]:
    """All training sets together, in the class numbers of the first.

    Classes of further sets are found among those of the first by name. Sets with their own label
    lists (DATASETS.MIX_LABEL_SETS) keep their numbers, and say whose a record is.

    Raises:
        ValueError: A further set has a class that the first does not list, or there is no set.
    """
    names, own_lists = cfg.DATASETS.TRAIN, cfg.DATASETS.MIX_LABEL_SETS
    if not names:
        raise ValueError("DATASETS.TRAIN is empty: name the sets to train on")
    labels = {} if own_lists else _labels_in_first(cfg)
    result: list[Record] = []
    for name in names:
        records = dataset_records(name, merge_twins=cfg.DATASETS.MERGE_TWINS)
        if name in labels:
            void = ignore_label_of(name)
            records = renumbered(records, labels[name], void, void)
        if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
            records = [record for record in records if _has_objects_if_any(record)]
        result += [{**record, DATASET_KEY: name} for record in records] if own_lists else records
    return result


def _has_objects_if_any(record: Record) -> bool:
    """False of an image whose annotation is a list of objects without one that is no crowd."""
    return "annotations" not in record or any(
        not row.get("iscrowd", 0) for row in record["annotations"]
    )


def check_training_classes(cfg: Any) -> None:
    """Refuses training sets that cannot be trained together.

    Raises:
        ValueError: As `train_records`.
    """
    if not cfg.DATASETS.MIX_LABEL_SETS:
        _labels_in_first(cfg)


def _labels_in_first(cfg: Any) -> dict[str, Sequence[int | None]]:
    """Class numbers in the first training set of those of further sets, where they differ."""
    known = trained_vocabulary(cfg)
    labels: dict[str, Sequence[int | None]] = {}
    for name in cfg.DATASETS.TRAIN:
        listed = dataset_vocabulary(name)
        if known is not None and listed is not None:
            match = match_or_refuse(name, listed, known, _NOT_MIXED)
            if match.labels != tuple(range(len(listed))):
                labels[name] = match.labels
    return labels


_NOT_MIXED = (
    "a training set may have any of the first one's classes; sets with others can be trained "
    "together where the model reads label texts (DATASETS.MIX_LABEL_SETS)"
)


@functools.lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, size: int) -> npt.NDArray[np.int64]:
    generator = torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    )
    return torch.randperm(size, generator=generator).numpy()
