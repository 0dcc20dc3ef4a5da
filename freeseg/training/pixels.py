"""Cross-entropy of pixels over label lists that may differ from image to image.

Shapes: B images, K labels, H W padded image size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.training.shares import mean_over_processes

VOID = -1  # label of pixels that are not judged


class PixelCriterion(nn.Module):
    """The mean over all judged pixels of a global batch, however many lists or processes share it.

    Every pixel is judged among the labels of its own image's list.
    """

    def forward(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """``loss_sem_seg`` of groups of images.

        Args:
            logits: Of every group [B, K, H, W], with its own B and K.
            labels: Of every group, int64 [B, H, W] in 0..K-1 or `VOID`.
        """
        total = torch.stack(
            [
                F.cross_entropy(one.float(), truth, ignore_index=VOID, reduction="sum")
                for one, truth in zip(logits, labels)
            ]
        ).sum()
        count = total.new_tensor(sum(int((truth != VOID).sum()) for truth in labels))
        return {"loss_sem_seg": total / mean_over_processes(count).clamp(min=1)}
