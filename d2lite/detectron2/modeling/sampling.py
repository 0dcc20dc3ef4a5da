"""Random choice of training examples."""

from __future__ import annotations

import torch

__all__ = ["subsample_labels"]


def subsample_labels(labels, num_samples, positive_fraction, bg_label):
    """Choose positive and negative examples at random.

    Args:
        labels: classes, -1 to ignore.
        num_samples: how many to choose, if there are as many.
        positive_fraction: largest part of them that is positive; negatives fill the rest.
        bg_label: the class of negatives.

    Returns:
        Indices of the positives and of the negatives.
    """
    positive = ((labels != -1) & (labels != bg_label)).nonzero().flatten()
    negative = (labels == bg_label).nonzero().flatten()
    num_positive = min(len(positive), int(num_samples * positive_fraction))
    num_negative = min(len(negative), num_samples - num_positive)
    chosen = torch.randperm(len(positive), device=labels.device)[:num_positive]
    others = torch.randperm(len(negative), device=labels.device)[:num_negative]
    return positive[chosen], negative[others]
