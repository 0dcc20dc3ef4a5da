"""What share of a batch a loss is computed of: normalisers are always those of the whole.

A batch may be spread over processes, and over parts that go through a model one after the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from detectron2.utils import comm


@dataclass(frozen=True)
class Share:
    """A part of this process's batch.

    Attributes:
        target_counts: Targets of every image of the whole batch; None: of the part alone.
        num_parts: Of the batch.
    """

    target_counts: tuple[int, ...] | None = None
    num_parts: int = 1


WHOLE = Share()

_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextlib.contextmanager
def accumulated(target_counts: Sequence[int] | None, num_parts: int) -> Iterator[None]:
    """Losses inside are of one of `num_parts` parts of a batch; their mean is the whole's loss.

    Args:
        target_counts: Targets of every image of the batch, None where nobody knows: losses are
            normalised by what the part has.
        num_parts: Of equal numbers of images.
    """
    counts = None if target_counts is None else tuple(target_counts)
    token = _share.set(Share(counts, num_parts))
    try:
        yield
    finally:
        _share.reset(token)


class Labelled(Protocol):
    """Targets of an image."""

    @property
    def labels(self) -> Tensor:
        """One of each."""


def count_targets(targets: Sequence[Labelled]) -> list[float]:
    """Targets of the images that normalise a loss, each divided by the parts they come in."""
    share = _share.get() or WHOLE
    if share.target_counts is None:
        return [float(len(target.labels)) for target in targets]
    return [float(count) for count in share.target_counts]


def parts_of_batch() -> int:
    """How many parts the images of `count_targets` are spread over."""
    share = _share.get() or WHOLE
    return 1 if share.target_counts is None else share.num_parts


def mean_over_processes(count: Tensor) -> Tensor:
    """Average of a count over all processes."""
    world_size = comm.get_world_size()
    if world_size > 1:
        count = count.clone()
        torch.distributed.all_reduce(count)
    return count / world_size
