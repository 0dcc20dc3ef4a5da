"""Spatial regularisation of logit maps that knows no label, and so takes any number of them.

Language-driven Semantic Segmentation (arXiv 2201.03546), section 3.4.
Shapes: B images, K labels, h w size of the maps.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

ACTIVATIONS = {"relu": nn.ReLU, "lrelu": nn.LeakyReLU, "tanh": nn.Tanh}
KINDS = ("none", "bottleneck", "depthwise")


class SpatialRegularisation(nn.Module):
    """One 3x3 filter that is shared by all labels, applied `depth` times.

    A bottleneck adds the best label's logit of every pixel to all labels' logits. The last
    application has no activation.
    """

    def __init__(self, *, kind: str, depth: int, activation: str) -> None:
        """Builds the filter.

        Args:
            kind: "bottleneck" or "depthwise".
            depth: How often it is applied.
            activation: "relu", "lrelu" or "tanh".
        """
        super().__init__()
        if kind not in KINDS[1:] or activation not in ACTIVATIONS or depth < 1:
            raise ValueError(
                f"wanted a kind of {', '.join(KINDS[1:])}, an activation of "
                f"{', '.join(ACTIVATIONS)} and a depth of at least 1, "
                f"got {kind!r}, {activation!r} and {depth}"
            )
        self.has_bottleneck = kind == "bottleneck"
        self.depth = depth
        self.activation = ACTIVATIONS[activation]()
        self.depthwise = nn.ModuleDict({"depthwise": nn.Conv2d(1, 1, kernel_size=3, padding=1)})

    def forward(self, logits: Tensor, peaks: Sequence[Tensor] | None = None) -> Tensor:
        """Regularised logits [B, K, h, w].

        Args:
            logits: [B, K, h, w], of all labels, or of some if `peaks` are given.
            peaks: What `peak` found before every application, over all labels.
        """
        for step in range(self.depth):
            logits = self.apply_once(logits, step, None if peaks is None else peaks[step])
        return logits

    def apply_once(self, logits: Tensor, step: int, peak: Tensor | None = None) -> Tensor:
        """Logits [B, K, h, w] after application number `step`."""
        filtered = self.depthwise["depthwise"](logits.flatten(0, 1)[:, None])  # [B * K, 1, h, w]
        filtered = filtered[:, 0].unflatten(0, logits.shape[:2])  # [B, K, h, w]
        if self.has_bottleneck:
            filtered = filtered + (logits.amax(1, keepdim=True) if peak is None else peak)
        return filtered if step == self.depth - 1 else self.activation(filtered)


def build_regularisation(*, kind: str, depth: int, activation: str) -> SpatialRegularisation | None:
    """The regularisation, None for the kind "none" or a depth of 0."""
    if kind not in KINDS:
        raise ValueError(f"the regularisation is one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "none" or depth == 0:
        return None
    return SpatialRegularisation(kind=kind, depth=depth, activation=activation)
