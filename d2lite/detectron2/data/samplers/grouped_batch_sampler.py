"""Batches of indices in which all members belong to one group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data.sampler import BatchSampler, Sampler


class GroupedBatchSampler(BatchSampler):
    """Batches another sampler's indices by group, otherwise keeping their order."""

    def __init__(self, sampler: Sampler, group_ids: list[int], batch_size: int) -> None:
        """Remember what to group.

        Args:
            sampler: gives indices from [0, N).
            group_ids: the group of each of the N samples.
            batch_size: how many indices make a batch.
        """
        if not isinstance(sampler, Sampler):
            raise ValueError(f"sampler should be a torch.utils.data.Sampler, got {sampler}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.group_ids = np.asarray(group_ids)
        assert self.group_ids.ndim == 1, "group_ids should be a flat list of integers"
        # Incomplete batches stay here from one iteration to the next.
        self.buffer_per_group = {group: [] for group in np.unique(self.group_ids).tolist()}

    def __iter__(self) -> Iterator[list[int]]:
        for index in self.sampler:
            waiting = self.buffer_per_group[self.group_ids[index]]
            waiting.append(index)
            if len(waiting) == self.batch_size:
                batch = list(waiting)
                waiting.clear()  # before yielding: the caller may never come back
                yield batch

    def __len__(self) -> int:
        raise NotImplementedError("the number of full groups is not known in advance")
