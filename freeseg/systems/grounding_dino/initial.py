"""How layers begin that are trained from nothing, as in DETR and its successors."""

from __future__ import annotations

from torch import nn


def fill(*layers: nn.Module) -> None:
    """Weights by Xavier's rule, biases 0."""
    for layer in layers:
        for parameter in layer.parameters():
            (nn.init.xavier_uniform_ if parameter.dim() > 1 else nn.init.zeros_)(parameter)


def fill_zeros(layer: nn.Module) -> None:
    """A layer that gives nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
