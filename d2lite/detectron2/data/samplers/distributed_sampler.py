"""Samplers for several processes: each takes its share of one common sequence.

The training samplers are infinite: process r of W reads positions r, r + W, r + 2W, ... of a
stream which all processes compute from the same seed. They know nothing of the workers of a
data loader; ``ToIterableDataset`` divides the share of a process among those.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data.sampler import Sampler

from detectron2.utils import comm

__all__ = [
    "InferenceSampler",
    "RandomSubsetTrainingSampler",
    "RepeatFactorTrainingSampler",
    "TrainingSampler",
]

logger = logging.getLogger(__name__)


def _common_seed(seed: int | None) -> int:
    return int(comm.shared_random_seed() if seed is None else seed)


def _seeded(seed: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


class _InfiniteSampler(Sampler):
    """Deals a stream of indices, which subclasses define, to the processes in turn."""

    def __init__(self, shuffle: bool, seed: int | None) -> None:
        self._shuffle = shuffle
        self._seed = _common_seed(seed)
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()

    def __iter__(self) -> Iterator[int]:
        return itertools.islice(self._infinite_indices(), self._rank, None, self._world_size)

    def _infinite_indices(self) -> Iterator[int]:
        generator = _seeded(self._seed)
        while True:
            indices = self._get_epoch_indices(generator)
            if self._shuffle:
                indices = indices[torch.randperm(len(indices), generator=generator)]
            yield from indices.tolist()

    def _get_epoch_indices(self, generator: torch.Generator) -> Tensor:
        """Return the indices of the next pass over the data, before shuffling."""
        raise NotImplementedError


class TrainingSampler(_InfiniteSampler):
    """Goes through the dataset again and again, in a new order each time."""

    def __init__(self, size: int, shuffle: bool = True, seed: int | None = None) -> None:
        """Check and remember the size.

        Args:
            size: number of samples in the dataset.
            shuffle: whether to draw a new order for each pass.
            seed: of the shuffling, the same in all processes; None lets them agree on one.
        """
        if not isinstance(size, int):
            raise TypeError(f"TrainingSampler expects an int as size, got {type(size)}")
        if size <= 0:
            raise ValueError(f"TrainingSampler expects a positive size, got {size}")
        super().__init__(shuffle, seed)
        self._size = size

    def _get_epoch_indices(self, generator: torch.Generator) -> Tensor:
        return torch.arange(self._size)


class RandomSubsetTrainingSampler(TrainingSampler):
    """Trains on a fixed random part of the dataset, to measure accuracy against its amount."""

    def __init__(
        self,
        size: int,
        subset_ratio: float,
        shuffle: bool = True,
        seed_shuffle: int | None = None,
        seed_subset: int | None = None,
    ) -> None:
        """Draw the subset.

        Args:
            size: number of samples in the dataset.
            subset_ratio: part of it to use, in (0, 1].
            shuffle: whether to draw a new order for each pass.
            seed_shuffle: of the order; None lets the processes agree on one.
            seed_subset: of the choice of the subset; None as above.
        """
        super().__init__(size=size, shuffle=shuffle, seed=seed_shuffle)
        assert 0.0 < subset_ratio <= 1.0, f"subset_ratio should be in (0, 1], got {subset_ratio}"
        self._size_subset = int(size * subset_ratio)
        assert self._size_subset > 0, f"{subset_ratio} of {size} samples is none"
        self._seed_subset = _common_seed(seed_subset)
        everything = torch.randperm(size, generator=_seeded(self._seed_subset))
        self._indexes_subset = everything[: self._size_subset]
        logger.info("Training on a random %d of %d samples", self._size_subset, size)

    def _get_epoch_indices(self, generator: torch.Generator) -> Tensor:
        return self._indexes_subset


class RepeatFactorTrainingSampler(_InfiniteSampler):
    """Repeats some samples more often than others in each pass, e.g. those of rare classes."""

    def __init__(
        self, repeat_factors: Tensor, *, shuffle: bool = True, seed: int | None = None
    ) -> None:
        """Split the factors into a sure and a random part.

        Args:
            repeat_factors: float [N], how often each sample comes in a pass on average.
            shuffle: whether to draw a new order for each pass.
            seed: of all randomness; None lets the processes agree on one.
        """
        super().__init__(shuffle, seed)
        self._int_part = torch.trunc(repeat_factors)
        self._frac_part = repeat_factors - self._int_part

    @staticmethod
    def repeat_factors_from_category_frequency(
        dataset_dicts: Sequence[dict], repeat_thresh: float, sqrt: bool = True
    ) -> Tensor:
        """Compute factors which repeat the images of rare categories (LVIS paper, appendix B.2).

        A category in a share f of the images gets max(1, sqrt(t / f)), and an image the
        largest factor among its categories.

        Args:
            dataset_dicts: with "annotations".
            repeat_thresh: the share t below which a category is repeated.
            sqrt: whether to take the root.

        Returns:
            float [N], one factor per image.
        """
        categories_of = [{obj["category_id"] for obj in d["annotations"]} for d in dataset_dicts]
        num_images_with = Counter(itertools.chain.from_iterable(categories_of))
        factor_of = {}
        for category, count in sorted(num_images_with.items()):
            frequency = count / len(categories_of)
            wanted = repeat_thresh / frequency
            factor_of[category] = max(1.0, math.sqrt(wanted) if sqrt else wanted)
            logger.info("category %s: in %.2f of the images", category, frequency)
        factors = [max(map(factor_of.get, found), default=1.0) for found in categories_of]
        return torch.tensor(factors, dtype=torch.float32)

    def _get_epoch_indices(self, generator: torch.Generator) -> Tensor:
        # Rounding is random, so that the mean over many passes is the factor itself.
        rounded_up = torch.rand(len(self._frac_part), generator=generator) < self._frac_part
        counts = self._int_part.long() + rounded_up.long()
        return torch.repeat_interleave(torch.arange(len(counts)), counts)


class InferenceSampler(Sampler):
    """Covers each sample exactly once: process r reads the r-th of W consecutive parts."""

    def __init__(self, size: int) -> None:
        """Work out this process's part of ``size`` samples."""
        assert size > 0, f"InferenceSampler needs at least one sample, got {size}"
        self._size = size
        self._rank, self._world_size = comm.get_rank(), comm.get_world_size()
        self._local_indices = self._get_local_indices(size, self._world_size, self._rank)

    @staticmethod
    def _get_local_indices(total_size: int, world_size: int, rank: int) -> range:
        """Return a part whose length differs by at most one; the first ones are the longer."""
        share, rest = divmod(total_size, world_size)
        begin = rank * share + min(rank, rest)
        return range(begin, begin + share + (rank < rest))

    def __iter__(self) -> Iterable[int]:
        yield from self._local_indices

    def __len__(self) -> int:
        return len(self._local_indices)
