"""Multi-scale deformable attention in standard operators, for as long as a model is traced.

Shapes: B images, S summed pixels of all levels, M heads, D channels per head, Q queries,
L levels, P points.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from torch import Tensor, nn

from freeseg.modeling.pixel_decoder.deformable import DeformableEncoder
from freeseg.ops.reference import ms_deform_attn_with_sizes
from freeseg.structures import sizes_of


@contextlib.contextmanager
def standard_operators(model: nn.Module) -> Iterator[None]:
    """Inside, the model's deformable attention is ``grid_sample`` on each level.

    Level sizes are taken from the maps instead of from a tensor, so that a trace may keep them
    symbolic.
    """
    sizes: list[tuple[int, int]] = []

    def remember(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        sizes[:] = sizes_of(arguments[0])

    def lowered(
        value: Tensor,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> Tensor:
        return ms_deform_attn_with_sizes(value, sizes, sampling_locations, attention_weights)

    encoders = [one for one in model.modules() if isinstance(one, DeformableEncoder)]
    hooks = [encoder.register_forward_pre_hook(remember) for encoder in encoders]
    try:
        with patch("freeseg.layers.deformable.ms_deform_attn", lowered):
            yield
    finally:
        for hook in hooks:
            hook.remove()
