"""A model's convolutions made ready for inference on a CPU or GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from detectron2.layers import Conv2d, FrozenBatchNorm2d


@torch.no_grad()
def fuse_for_inference(model: nn.Module) -> nn.Module:
    """Folds batch norms into the convolutions before them and stores those channels-last.

    Works in place, on Detectron2's convolutions with a norm, and changes parameter names: for a
    model that will neither be trained nor saved. Its output is the same up to rounding.

    Raises:
        ValueError: When the model is in training mode.
    """
    if model.training:
        raise ValueError("wanted a model in eval mode: call eval() first")
    for module in model.modules():
        if isinstance(module, Conv2d) and isinstance(
            module.norm, (FrozenBatchNorm2d, nn.BatchNorm2d)
        ):
            _fold(module, module.norm)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _fold(convolution: Any, norm: Any) -> None:
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    bias = norm.bias - norm.running_mean * scale
    if convolution.bias is not None:
        bias = bias + convolution.bias * scale
    convolution.weight = nn.Parameter(convolution.weight * scale[:, None, None, None], False)
    convolution.bias = nn.Parameter(bias, False)
    convolution.norm = None
