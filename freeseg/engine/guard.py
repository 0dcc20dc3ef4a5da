"""Stops training at the first loss that is no number, and keeps the batch that gave it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detectron2.utils import comm
from freeseg.files import write_atomically

logger = logging.getLogger(__name__)


class LossGuard:
    """A forward hook that lets only finite losses pass.

    The weights are still those of the iteration before: nothing was learned from the batch.
    """

    def __init__(self, folder: Path) -> None:
        """Args: folder is where batches are written."""
        self.folder = folder
        self.iteration = 0

    def __call__(self, model: nn.Module, inputs: tuple[Any, ...], losses: Any) -> None:
        """Is called with the losses of a batch by name.

        Raises:
            FloatingPointError: In one line: which loss, when, and where the batch is.
        """
        if not model.training or not isinstance(losses, dict):
            return
        bad = [name for name, loss in losses.items() if not bool(torch.isfinite(loss).all())]
        if not bad:
            return
        path = self.folder / f"bad_batch_{self.iteration:07d}_rank{comm.get_rank()}.pth"
        content = {
            "iteration": self.iteration,
            "losses": {name: loss.detach().cpu() for name, loss in losses.items()},
            "batch": plain_batch(inputs[0]),
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda file: torch.save(content, file))
        except OSError as error:
            logger.error("the batch is lost: %s", error)
        raise FloatingPointError(
            f"{', '.join(bad)} {'is' if len(bad) == 1 else 'are'} not finite at iteration "
            f"{self.iteration}: training stops, the batch is in {path}"
        )


def plain_batch(batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Inputs as tensors, numbers and texts, which ``torch.load(weights_only=True)`` reads back.

    Of ``instances`` the fields become entries; what is nothing of these is left out.
    """
    rows = []
    for one in batched_inputs:
        fields = dict(one)
        instances = fields.pop("instances", None)
        if instances is not None:
            fields.update(instances.get_fields())
        tensors = {key: getattr(value, "tensor", value) for key, value in fields.items()}
        rows.append({k: v for k, v in tensors.items() if isinstance(v, (Tensor, int, float, str))})
    return rows
