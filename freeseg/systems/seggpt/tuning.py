"""In-context tuning: an example is learned, everything else stays as it is (section 3.3).

Shapes: B queries, S side of a square.
"""

from __future__ import annotations

import torch
from torch import Tensor

from freeseg.systems.seggpt.system import SegGPT
from freeseg.systems.seggpt.training import painting_loss


def tuning_loss(
    model: SegGPT,
    image: Tensor,
    target: Tensor,
    queries: Tensor,
    truth: Tensor,
    weights: Tensor | None = None,
    *,
    kind: int,
) -> Tensor:
    """The loss of queries under one example.

    Args:
        model: Frozen.
        image: Of the example, normalised [3, S, S].
        target: Likewise.
        queries: Normalised [B, 3, S, S].
        truth: What is to be painted, likewise.
        weights: Of its pixels, likewise; None: 1.
        kind: 0 semantic, 1 instance.
    """
    network = model.network
    stream = network.target_stream(target[None], kind)
    photos = network.photo_stream(
        network.patches(image[None]), network.patches(queries)[:, None], kind
    )
    taps = network.after_merge(network.merged(stream, photos), upper_rows=1)
    painted = network.decode(taps.lower[:, 0], taps.upper[:, 0, -1])
    weights = torch.ones_like(truth) if weights is None else weights
    return painting_loss(painted, truth, weights, model.loss)


def example_gradients(
    model: SegGPT, image: Tensor, target: Tensor, queries: Tensor, truth: Tensor, *, kind: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients by the example's image and target; see `tuning_loss`."""
    image, target = (each.detach().requires_grad_() for each in (image, target))
    loss = tuning_loss(model, image, target, queries, truth, kind=kind)
    by_image, by_target = torch.autograd.grad(loss, (image, target))
    return loss, by_image, by_target
