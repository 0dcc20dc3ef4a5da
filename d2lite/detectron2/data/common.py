"""Small datasets out of which the loaders are put together."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils import data
from torch.utils.data.sampler import Sampler

from detectron2.utils.serialize import PicklableWrapper

__all__ = ["AspectRatioGroupedDataset", "DatasetFromList", "MapDataset", "ToIterableDataset"]

logger = logging.getLogger(__name__)


def _shard_iterator_dataloader_worker(iterable: Iterable, chunk_size: int = 1) -> Iterator:
    """Yield this data loader worker's share: every n-th chunk, or all outside of a worker."""
    worker = data.get_worker_info()
    if worker is None:
        yield from iterable
        return
    for position, item in enumerate(iterable):
        if position // chunk_size % worker.num_workers == worker.id:
            yield item


class _MapIterableDataset(data.IterableDataset):
    """What ``MapDataset`` becomes for an iterable dataset."""

    def __init__(self, dataset: Iterable, map_func: Callable) -> None:
        self._dataset = dataset
        self._map_func = PicklableWrapper(map_func)

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator:
        mapped = (self._map_func(item) for item in self._dataset)
        return (item for item in mapped if item is not None)


class MapDataset(data.Dataset):
    """Applies a function to each element of a dataset.

    The function returns None for an element which cannot be used. A dataset with indices then
    gives a random other element, an iterable one goes on to the next.
    """

    def __new__(cls, dataset: Any, map_func: Callable) -> Any:
        if isinstance(dataset, data.IterableDataset):
            return _MapIterableDataset(dataset, map_func)
        return super().__new__(cls)

    def __init__(self, dataset: Any, map_func: Callable) -> None:
        self._dataset = dataset
        self._map_func = PicklableWrapper(map_func)  # workers may need to pickle a lambda
        self._rng = random.Random(42)
        self._fallback_candidates = set(range(len(dataset)))

    def __getnewargs__(self) -> tuple:
        return self._dataset, self._map_func

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, idx: int) -> Any:
        tried, num_failures = int(idx), 0
        mapped = self._map_func(self._dataset[tried])
        while mapped is None:
            num_failures += 1
            self._fallback_candidates.discard(tried)
            (tried,) = self._rng.sample(tuple(self._fallback_candidates), k=1)
            if num_failures >= 3:
                logger.warning(
                    "no usable element for index %s after %d attempts", idx, num_failures
                )
            mapped = self._map_func(self._dataset[tried])
        self._fallback_candidates.add(tried)
        return mapped


class _TorchSerializedList:
    """A list kept as one byte tensor, which loader processes share instead of copying.

    Reading a Python object changes its reference count, so forked workers would soon own a
    copy of every page of a plain list (pytorch/pytorch#13246).
    """

    def __init__(self, lst: list) -> None:
        pickles = [pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL) for item in lst]
        lengths = [0, *map(len, pickles)]
        self._offsets = torch.from_numpy(np.cumsum(lengths, dtype=np.int64))
        self._bytes = torch.from_numpy(np.frombuffer(bytearray(b"".join(pickles)), dtype=np.uint8))
        megabytes = len(self._bytes) / 1024**2
        logger.info("Serialized %d elements into %.2f MiB", len(pickles), megabytes)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, idx: int) -> Any:
        first = range(len(self))[idx]  # checks the bounds and resolves a negative index
        begin, end = self._offsets[first : first + 2].tolist()
        return pickle.loads(self._bytes[begin:end].numpy())


_DEFAULT_DATASET_FROM_LIST_SERIALIZE_METHOD = _TorchSerializedList


@contextlib.contextmanager
def set_default_dataset_from_list_serialize_method(new: Callable) -> Iterator[None]:
    """Use another way of serializing in the ``DatasetFromList`` made inside the context."""
    global _DEFAULT_DATASET_FROM_LIST_SERIALIZE_METHOD
    before = _DEFAULT_DATASET_FROM_LIST_SERIALIZE_METHOD
    _DEFAULT_DATASET_FROM_LIST_SERIALIZE_METHOD = new
    try:
        yield
    finally:
        _DEFAULT_DATASET_FROM_LIST_SERIALIZE_METHOD = before


class DatasetFromList(data.Dataset):
    """A list as a torch dataset."""

    def __init__(self, lst: list, copy: bool = True, serialize: bool | Callable = True) -> None:
        """Take over the list.

        Args:
            lst: the elements.
            copy: give a deep copy of an element, so that changing it leaves the list alone.
            serialize: keep the elements in shared memory, in the default way (True) or in a
                list-like object which the given callable makes of the list.
        """
        if not (isinstance(serialize, bool) or callable(serialize)):
            raise TypeError(f"serialize should be a bool or a callable, got {serialize!r}")
        self._copy = copy
        self._serialize = serialize is not False
        if serialize is True:
            serialize = _DEFAULT_DATASET_FROM_LIST_SERIALIZE_METHOD
        self._lst = serialize(lst) if serialize else lst

    def __len__(self) -> int:
        return len(self._lst)

    def __getitem__(self, idx: int) -> Any:
        item = self._lst[idx]
        # What comes out of serialized storage is a new object already.
        return copy.deepcopy(item) if self._copy and not self._serialize else item


class ToIterableDataset(data.IterableDataset):
    """A dataset with indices, together with a sampler of them, as an iterable dataset."""

    def __init__(
        self,
        dataset: data.Dataset,
        sampler: Sampler,
        shard_sampler: bool = True,
        shard_chunk_size: int = 1,
    ) -> None:
        """Join dataset and sampler.

        Args:
            dataset: with ``__getitem__``.
            sampler: a cheap source of indices, as every worker goes through all of them.
            shard_sampler: divide the indices among the workers of a data loader; False for a
                sampler that does so itself.
            shard_chunk_size: how many consecutive indices go to the same worker. With the
                batch size here, batches hold the same elements for any number of workers.
        """
        assert not isinstance(dataset, data.IterableDataset), dataset
        assert isinstance(sampler, Sampler), sampler
        self.dataset = dataset
        self.sampler = sampler
        self.shard_sampler = shard_sampler
        self.shard_chunk_size = shard_chunk_size

    def __iter__(self) -> Iterator:
        indices = self.sampler
        if self.shard_sampler:
            indices = _shard_iterator_dataloader_worker(indices, self.shard_chunk_size)
        return (self.dataset[index] for index in indices)

    def __len__(self) -> int:
        return len(self.sampler)


class AspectRatioGroupedDataset(data.IterableDataset):
    """Batches wide images with wide ones and tall with tall, which then need less padding."""

    def __init__(self, dataset: Iterable[dict], batch_size: int) -> None:
        """Remember the source: dicts with "width" and "height"."""
        self.dataset = dataset
        self.batch_size = batch_size
        self._buckets = [[], []]  # wide; tall and square

    def __iter__(self) -> Iterator[list[dict]]:
        for item in self.dataset:
            bucket = self._buckets[item["width"] <= item["height"]]
            bucket.append(item)
            if len(bucket) == self.batch_size:
                batch = list(bucket)
                bucket.clear()  # before yielding: the caller may never come back
                yield batch
