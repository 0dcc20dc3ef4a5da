"""Data loaders, from a config or from parts."""

from __future__ import annotations

import itertools
import logging
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch.utils import data as torchdata

from detectron2._missing import missing
from detectron2.config import configurable
from detectron2.utils.comm import get_world_size
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import _log_api_usage

from ._dataset_dicts import (
    filter_images_with_few_keypoints,
    filter_images_with_only_crowd_annotations,
    print_instances_class_histogram,
)
from .catalog import DatasetCatalog, MetadataCatalog
from .common import AspectRatioGroupedDataset, DatasetFromList, MapDataset, ToIterableDataset
from .dataset_mapper import DatasetMapper
from .detection_utils import check_metadata_consistency
from .samplers import (
    InferenceSampler,
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)

__all__ = [
    "build_batch_data_loader",
    "build_detection_test_loader",
    "build_detection_train_loader",
    "filter_images_with_few_keypoints",
    "filter_images_with_only_crowd_annotations",
    "get_detection_dataset_dicts",
    "print_instances_class_histogram",
    "trivial_batch_collator",
    "worker_init_reset_seed",
]

logger = logging.getLogger(__name__)


def get_detection_dataset_dicts(
    names: str | Sequence[str],
    filter_empty: bool = True,
    min_keypoints: int = 0,
    proposal_files: Sequence[str] | None = None,
    check_consistency: bool = True,
) -> Any:
    """Load registered datasets and join them.

    Args:
        names: one or several names.
        filter_empty: leave out images without objects, or with crowds only.
        min_keypoints: leave out images with fewer labelled keypoints.
        proposal_files: only upstream reads them.
        check_consistency: check that the datasets have the same classes, and log how many
            objects of each there are.

    Returns:
        A list of dicts; or a torch dataset, where that is what was registered.
    """
    names = [names] if isinstance(names, str) else names
    assert len(names), "no dataset names were given"
    unknown = [name for name in names if name not in DatasetCatalog]
    if unknown:
        known = ", ".join(DatasetCatalog)
        logger.warning("datasets %s are not among the registered: %s", unknown, known)
    loaded = [DatasetCatalog.get(name) for name in names]
    if isinstance(loaded[0], torchdata.Dataset):
        return loaded[0] if len(loaded) == 1 else torchdata.ConcatDataset(loaded)

    for name, dicts in zip(names, loaded):
        assert len(dicts), f"Dataset '{name}' is empty!"
    if proposal_files is not None:
        raise missing("proposals that were made before (MODEL.LOAD_PROPOSALS)")
    dataset_dicts = list(itertools.chain.from_iterable(loaded))
    if "annotations" in dataset_dicts[0]:
        if filter_empty:
            dataset_dicts = filter_images_with_only_crowd_annotations(dataset_dicts)
        if min_keypoints > 0:
            dataset_dicts = filter_images_with_few_keypoints(dataset_dicts, min_keypoints)
        if check_consistency:
            _check_classes(names, dataset_dicts)
    assert len(dataset_dicts), f"No valid data found in {','.join(names)}."
    return dataset_dicts


def _check_classes(names: Sequence[str], dataset_dicts: list[dict]) -> None:
    try:
        class_names = MetadataCatalog.get(names[0]).thing_classes
        check_metadata_consistency("thing_classes", names)
    except AttributeError:  # a dataset need not name its classes
        return
    print_instances_class_histogram(dataset_dicts, class_names)


def build_batch_data_loader(
    dataset: torchdata.Dataset,
    sampler: torchdata.Sampler | None,
    total_batch_size: int,
    *,
    aspect_ratio_grouping: bool = False,
    num_workers: int = 0,
    collate_fn: Callable | None = None,
    drop_last: bool = True,
    single_gpu_batch_size: int | None = None,
    prefetch_factor: int | None = 2,
    persistent_workers: bool = False,
    pin_memory: bool = False,
    seed: int | None = None,
    **kwargs: Any,
) -> Iterable:
    """Build a loader of batches, which are lists unless ``collate_fn`` makes something else.

    Args:
        dataset: with indices, or iterable.
        sampler: of indices; None for an iterable dataset.
        total_batch_size: of all processes together.
        aspect_ratio_grouping: batch wide images apart from tall ones.
        num_workers: number of loading processes.
        collate_fn: from a list to a batch.
        drop_last: leave out a last batch that is not full.
        single_gpu_batch_size: of this process, instead of ``total_batch_size``.
        prefetch_factor: how many batches each worker prepares ahead.
        persistent_workers: keep the workers when the loader is iterated again.
        pin_memory: copy batches to memory which a GPU can read.
        seed: of the workers' random generators.
        **kwargs: further arguments of torch's ``DataLoader``.
    """
    batch_size = _local_batch_size(total_batch_size, single_gpu_batch_size)
    logger.info("Making batched data loader with batch_size=%d", batch_size)
    dataset = _iterable(dataset, sampler, batch_size)
    if seed is not None:
        kwargs["generator"] = torch.Generator()
        kwargs["generator"].manual_seed(seed)
    kwargs.update(
        num_workers=num_workers,
        prefetch_factor=prefetch_factor if num_workers > 0 else None,
        persistent_workers=persistent_workers,
        pin_memory=pin_memory,
        worker_init_fn=worker_init_reset_seed,
    )
    if not aspect_ratio_grouping:
        return torchdata.DataLoader(
            dataset,
            batch_size=batch_size,
            drop_last=drop_last,
            collate_fn=collate_fn or trivial_batch_collator,
            **kwargs,
        )
    assert drop_last, "Aspect ratio grouping will drop incomplete batches."
    one_by_one = torchdata.DataLoader(dataset, collate_fn=operator.itemgetter(0), **kwargs)
    grouped = AspectRatioGroupedDataset(one_by_one, batch_size)
    return grouped if collate_fn is None else MapDataset(grouped, collate_fn)


def _iterable(dataset: torchdata.Dataset, sampler: Any, batch_size: int) -> torchdata.Dataset:
    if isinstance(dataset, torchdata.IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
        return dataset
    return ToIterableDataset(dataset, sampler, shard_chunk_size=batch_size)


def _local_batch_size(total_batch_size: int, single_gpu_batch_size: int | None) -> int:
    if single_gpu_batch_size:
        if total_batch_size:
            raise ValueError("give one of total_batch_size and single_gpu_batch_size, not both")
        return single_gpu_batch_size
    world_size = get_world_size()
    divisible = total_batch_size > 0 and total_batch_size % world_size == 0
    assert divisible, (
        f"Total batch size ({total_batch_size}) must be divisible by the number of gpus "
        f"({world_size})."
    )
    return total_batch_size // world_size


def _load_train_dicts(cfg: Any, names: Sequence[str]) -> Any:
    keypoints = cfg.MODEL.KEYPOINT_ON
    return get_detection_dataset_dicts(
        names,
        filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS,
        min_keypoints=cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if keypoints else 0,
        proposal_files=cfg.DATASETS.PROPOSAL_FILES_TRAIN if cfg.MODEL.LOAD_PROPOSALS else None,
    )


def _get_train_datasets_repeat_factors(cfg: Any) -> dict[str, float]:
    """Return the factor of each training dataset, 1 for those that the config gives none."""
    given = cfg.DATASETS.TRAIN_REPEAT_FACTOR
    assert all(len(pair) == 2 for pair in given), f"{given} should be pairs of name and factor"
    factors = dict.fromkeys(cfg.DATASETS.TRAIN, 1)
    unrecognized = {name for name, _ in given} - set(factors)
    assert not unrecognized, f"unrecognized datasets: {unrecognized}"
    factors.update(given)
    return factors


def _build_weighted_sampler(
    cfg: Any, enable_category_balance: bool = False
) -> RepeatFactorTrainingSampler:
    """Repeat the images of each dataset by its factor, times that of their rarest category."""
    factor_of = _get_train_datasets_repeat_factors(cfg)
    parts = [(factor_of[name], _load_train_dicts(cfg, [name])) for name in cfg.DATASETS.TRAIN]
    factors = torch.cat([torch.full((len(dicts),), float(factor)) for factor, dicts in parts])
    if enable_category_balance:
        threshold, sqrt = cfg.DATALOADER.REPEAT_THRESHOLD, cfg.DATALOADER.REPEAT_SQRT
        by_category = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency
        factors *= torch.cat([by_category(dicts, threshold, sqrt=sqrt) for _, dicts in parts])
        factors /= factors.min()
    logger.info("Datasets are repeated by %s", cfg.DATASETS.TRAIN_REPEAT_FACTOR)
    return RepeatFactorTrainingSampler(factors)


def _train_sampler_from_config(cfg: Any, dataset: Any) -> torchdata.Sampler | None:
    if isinstance(dataset, torchdata.IterableDataset):
        logger.info("Not using any sampler since the dataset is IterableDataset.")
        return None
    name = cfg.DATALOADER.SAMPLER_TRAIN
    logger.info("Using training sampler %s", name)
    if name == "TrainingSampler":
        return TrainingSampler(len(dataset), seed=cfg.SEED)
    if name == "RepeatFactorTrainingSampler":
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            dataset, cfg.DATALOADER.REPEAT_THRESHOLD, sqrt=cfg.DATALOADER.REPEAT_SQRT
        )
        return RepeatFactorTrainingSampler(factors, seed=cfg.SEED)
    if name == "RandomSubsetTrainingSampler":
        return RandomSubsetTrainingSampler(len(dataset), cfg.DATALOADER.RANDOM_SUBSET_RATIO)
    if name in ("WeightedTrainingSampler", "WeightedCategoryTrainingSampler"):
        return _build_weighted_sampler(cfg, enable_category_balance="Category" in name)
    raise ValueError(f"Unknown training sampler: {name}")


def _train_loader_from_config(
    cfg: Any, mapper: Callable | None = None, *, dataset: Any = None, sampler: Any = None
) -> dict[str, Any]:
    if dataset is None:
        dataset = _load_train_dicts(cfg, cfg.DATASETS.TRAIN)
        _log_api_usage("dataset." + cfg.DATASETS.TRAIN[0])
    return {
        "dataset": dataset,
        "sampler": _train_sampler_from_config(cfg, dataset) if sampler is None else sampler,
        "mapper": DatasetMapper(cfg, True) if mapper is None else mapper,
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "aspect_ratio_grouping": cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


def _mapped(dataset: Any, mapper: Callable | None) -> torchdata.Dataset:
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    return dataset if mapper is None else MapDataset(dataset, mapper)


@configurable(from_config=_train_loader_from_config)
def build_detection_train_loader(
    dataset: Any,
    *,
    mapper: Callable | None,
    sampler: torchdata.Sampler | None = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
    collate_fn: Callable | None = None,
    **kwargs: Any,
) -> Iterable:
    """Build a loader for training; can be called with a config instead.

    Args:
        dataset: a list of dicts, or a torch dataset.
        mapper: from a dict to the model's input; with a config, a ``DatasetMapper``.
        sampler: a ``TrainingSampler`` by default; None for an iterable dataset.
        total_batch_size: of all processes together.
        aspect_ratio_grouping: batch wide images apart from tall ones; mapped elements then
            need "width" and "height".
        num_workers: number of loading processes.
        collate_fn: from a list to a batch; batches are lists by default.
        **kwargs: see ``build_batch_data_loader``.
    """
    dataset = _mapped(dataset, mapper)
    if isinstance(dataset, torchdata.IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    else:
        sampler = TrainingSampler(len(dataset)) if sampler is None else sampler
        assert isinstance(sampler, torchdata.Sampler), f"Expect a Sampler but got {type(sampler)}"
    return build_batch_data_loader(
        dataset,
        sampler,
        total_batch_size,
        aspect_ratio_grouping=aspect_ratio_grouping,
        num_workers=num_workers,
        collate_fn=collate_fn,
        **kwargs,
    )


def _test_loader_from_config(
    cfg: Any, dataset_name: str | Sequence[str], mapper: Callable | None = None
) -> dict[str, Any]:
    names = [dataset_name] if isinstance(dataset_name, str) else dataset_name
    dataset = get_detection_dataset_dicts(
        names,
        filter_empty=False,
        proposal_files=cfg.DATASETS.PROPOSAL_FILES_TEST if cfg.MODEL.LOAD_PROPOSALS else None,
    )
    iterable = isinstance(dataset, torchdata.IterableDataset)
    return {
        "dataset": dataset,
        "mapper": DatasetMapper(cfg, False) if mapper is None else mapper,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
        "sampler": None if iterable else InferenceSampler(len(dataset)),
    }


@configurable(from_config=_test_loader_from_config)
def build_detection_test_loader(
    dataset: Any,
    *,
    mapper: Callable | None,
    sampler: torchdata.Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable | None = None,
) -> torchdata.DataLoader:
    """Build a loader that gives each element once; can be called with a config and a name.

    Args:
        dataset: a list of dicts, or a torch dataset.
        mapper: from a dict to the model's input; with a config, a ``DatasetMapper``.
        sampler: an ``InferenceSampler`` by default; None for an iterable dataset.
        batch_size: of this process.
        num_workers: number of loading processes.
        collate_fn: from a list to a batch; batches are lists by default.
    """
    dataset = _mapped(dataset, mapper)
    if isinstance(dataset, torchdata.IterableDataset):
        assert sampler is None, "sampler must be None if dataset is IterableDataset"
    elif sampler is None:
        sampler = InferenceSampler(len(dataset))
    return torchdata.DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        drop_last=False,
        num_workers=num_workers,
        collate_fn=collate_fn or trivial_batch_collator,
    )


def trivial_batch_collator(batch: list) -> list:
    """Return the list of elements as it is."""
    return batch


def worker_init_reset_seed(worker_id: int) -> None:
    """Seed the random generators of a loading process from torch's seed there."""
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)
