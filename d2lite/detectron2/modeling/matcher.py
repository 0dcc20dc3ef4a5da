"""Assignment of predictions to true objects by their overlap.

Shapes: M true objects, N predictions.
"""

from __future__ import annotations

import torch

__all__ = ["Matcher"]


class Matcher:
    """Gives every prediction its best true object, and a label by how good the match is."""

    def __init__(self, thresholds, labels, allow_low_quality_matches=False):
        """Set the labels.

        Args:
            thresholds: ascending qualities where the label changes.
            labels: one more than thresholds, each 1 (match), 0 (background) or -1 (ignore).
            allow_low_quality_matches: label the best predictions of every object 1 in any case.
        """
        self.thresholds = [-float("inf"), *thresholds, float("inf")]
        assert thresholds[0] > 0, f"thresholds must be positive, got {thresholds}"
        assert sorted(self.thresholds) == self.thresholds, f"thresholds must ascend: {thresholds}"
        assert all(label in (-1, 0, 1) for label in labels), f"labels must be -1, 0, 1: {labels}"
        assert len(labels) == len(thresholds) + 1, "there is one label more than thresholds"
        self.labels = list(labels)
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix):
        """Match predictions.

        Args:
            match_quality_matrix: qualities [M, N], none negative.

        Returns:
            The best object of each prediction [N] and its label, int8 [N].
        """
        quality = match_quality_matrix
        assert quality.dim() == 2, f"qualities must be [M, N], got {tuple(quality.shape)}"
        labels = torch.tensor(self.labels, dtype=torch.int8, device=quality.device)
        if quality.numel() == 0:
            matches = quality.new_zeros(quality.shape[1], dtype=torch.int64)
            return matches, labels[matches]
        assert (quality >= 0).all(), "qualities must not be negative"
        best, matches = quality.max(dim=0)
        edges = best.new_tensor(self.thresholds[1:-1])
        match_labels = labels[torch.bucketize(best, edges, right=True)]
        if self.allow_low_quality_matches:
            best_of_object = quality.max(dim=1, keepdim=True).values
            match_labels[(quality == best_of_object).any(dim=0)] = 1
        return matches, match_labels
