"""Multi-layer perceptron with ReLU between its layers."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """`num_layers` linear layers over the last axis; no activation after the last."""

    def __init__(
        self, *, in_channels: int, hidden_channels: int, out_channels: int, num_layers: int
    ) -> None:
        super().__init__()
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
