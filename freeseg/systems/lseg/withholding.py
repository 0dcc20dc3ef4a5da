"""Labels that a training step withholds, so that their pixels are to be "other"."""

from __future__ import annotations

import torch


def withhold(num_labels: int, share: float, generator: torch.Generator | None = None) -> list[int]:
    """The labels, of 0..num_labels-1, that a training step keeps; never none of them.

    Args:
        num_labels: How many there are.
        share: Probability of each to be left out.
        generator: Of the draws; the global one when None.
    """
    kept = (torch.rand(num_labels, generator=generator) >= share).nonzero()[:, 0].tolist()
    return kept or [int(torch.randint(num_labels, (1,), generator=generator))]
