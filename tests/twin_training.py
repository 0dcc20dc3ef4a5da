"""A training step that an original and its twin here can both take: same weights, photos, points.

Everything comes from names, shapes and numpy's frozen RandomState; nothing but results is stored.
Shapes: N segments, H W photo size, P points.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detectron2.structures import Instances

CLASSES = ("cat", "dog", "sky", "tree")  # the first two are things
NUM_THINGS = 2
SIZES = ((64, 96), (96, 72), (40, 56))
TASKS = ("panoptic", "semantic", "instance")  # of every photo
LABELS = ([0, 2, 1, 3, 1], [3, 0, 2], [])  # of the segments of every photo
FILLED = ("weight", "bias", "running_mean", "running_var")  # also of frozen batch norms
MAX_MASKS = 32  # rows of points that may be asked for at once


def fill(model: nn.Module, prefix: str = "") -> None:
    """Gives every weight and every statistic the values that belong to its name and shape.

    Args:
        model: Scalars, such as temperatures, keep their start values.
        prefix: Of the names, for a model that is a part of another.
    """
    tensors = {**model.state_dict(keep_vars=True), **dict(model.named_parameters())}
    for name, tensor in tensors.items():
        is_weight = isinstance(tensor, nn.Parameter) or name.split(".")[-1] in FILLED
        if is_weight and tensor.dim():
            tensor.data.copy_(_values(prefix + name, tensor.shape))


def _values(name: str, shape: torch.Size) -> Tensor:
    noise = _random(name).standard_normal(tuple(shape))
    if len(shape) > 1:
        values = noise * (1.5 / shape[1:].numel() ** 0.5)
    elif name.endswith("running_var"):
        values = np.exp(0.1 * noise)
    else:
        values = 0.1 * noise + name.endswith("weight")
    return torch.from_numpy(values.astype(np.float32))


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Whatever asks for float32 gets float64: no rounding decides on which side of 0 a ReLU is."""
    single = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "float32", torch.float64)
            patch.setattr(torch, "float", torch.float64)
            patch.setattr(Tensor, "float", Tensor.double)
            yield
    finally:
        torch.set_default_dtype(single)


def photos() -> list[dict[str, Any]]:
    """Inputs of a training step: photos of several sizes, the last one without a segment."""
    return [{"image": _image(index), "instances": _instances(index)} for index in range(len(SIZES))]


def _image(index: int) -> Tensor:
    height, width = SIZES[index]
    tiles = _random(f"photo {index}").randint(0, 256, (3, height // 8, width // 8))
    return torch.from_numpy(tiles.repeat(8, axis=1).repeat(8, axis=2)).byte()  # [3, H, W]


def _instances(index: int) -> Instances:
    """Segments are the pixels nearest to a centre; one centre more than segments leaves a hole."""
    height, width = SIZES[index]
    labels = torch.tensor(LABELS[index], dtype=torch.int64)
    centres = torch.from_numpy(_random(f"centres {index}").random_sample((len(labels) + 1, 2)))
    rows = torch.arange(height)[:, None, None] / height
    columns = torch.arange(width)[None, :, None] / width
    nearest = ((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2).argmin(-1)  # [H, W]
    instances = Instances((height, width))
    instances.gt_classes = labels
    instances.gt_masks = nearest == torch.arange(len(labels))[:, None, None]  # [N, H, W]
    return instances


def points(number: int, per_row: int, coordinates: int, device: Any = None) -> Tensor:
    """What stands for torch.rand: a row's points [P, 2] depend on its place and on P alone.

    So they do not depend on the order in which layers, or photos, are looked at.
    """
    rows = _random(f"points {per_row}").random_sample((MAX_MASKS, per_row, coordinates))
    return torch.from_numpy(rows[:number].astype(np.float32)).to(device, torch.float32)


def summary(model: nn.Module, losses: dict[str, Tensor]) -> dict[str, Any]:
    """Losses, and of every weight's gradient of their sum its norm and one random projection."""
    model.zero_grad()
    sum(losses.values()).backward()
    return {
        "losses": {name: loss.item() for name, loss in losses.items()},
        "gradients": {
            name: [weight.grad.norm().item(), _projection(name, weight.grad)]
            for name, weight in model.named_parameters()
            if weight.grad is not None
        },
    }


def _projection(name: str, gradient: Tensor) -> float:
    direction = _random(f"direction of {name}").standard_normal(tuple(gradient.shape))
    return float((gradient.double().numpy() * direction).sum())


def _random(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))
