"""How large a model is and how much it computes, by its parts.

Shapes: B images, Q queries, M heads, D channels per head, L levels, P points.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

REST = "rest"  # the name of what is in no part
_READS = 10  # operations per sampled channel: four neighbours and the weight, two each


@dataclass(frozen=True)
class PartSize:
    """One part of a model, or the whole of it.

    Attributes:
        name: Of the module, "" for the whole model.
        parameters: Values that training changes or a checkpoint holds.
        flops: Floating point operations for one image, a multiplication and an addition being two.
    """

    name: str
    parameters: int
    flops: int


def analyze(model: nn.Module, inputs: Sequence[Mapping[str, Any]]) -> list[PartSize]:
    """Returns the size of the whole model, of its parts and of the rest: parts and rest add up.

    Counted are matrix products, convolutions, attention and our deformable attention; what is
    elementwise is not. Work that a part does for another is the other's.

    Args:
        model: Keeps Detectron2's contract, on any device.
        inputs: What it is run on; figures are for one of them.
    """
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.freeseg.ms_deform_attn: _deformable_flops}
    )
    parts = _parts(model)
    meter = _Meter(parts, counter)
    with counter, meter.attached(), torch.no_grad():
        model.eval()(list(inputs))
    whole = PartSize("", _parameters(model), counter.get_total_flops() // len(inputs))
    sizes = [
        PartSize(name, _parameters(part), meter.flops[name] // len(inputs))
        for name, part in parts.items()
    ]
    rest = PartSize(
        REST,
        whole.parameters - sum(size.parameters for size in sizes),
        whole.flops - sum(size.flops for size in sizes),
    )
    return [whole, *sizes, rest]


def sizes_table(sizes: Sequence[PartSize]) -> str:
    """Returns a Markdown table with the whole last."""
    lines = ["| part | parameters | share | GFLOPs | share |", "|---|---:|---:|---:|---:|"]
    whole = next(size for size in sizes if not size.name)
    for size in sorted(sizes, key=lambda size: not size.name):
        lines.append(
            f"| {size.name or 'whole'} | {size.parameters:,} "
            f"| {_share(size.parameters, whole.parameters)} "
            f"| {size.flops / 1e9:.2f} | {_share(size.flops, whole.flops)} |"
        )
    return "\n".join(lines)


class _Meter:
    """Adds up what every part computes in any method of its modules, not in `forward` alone."""

    def __init__(self, parts: Mapping[str, nn.Module], counter: FlopCounterMode) -> None:
        self.flops = dict.fromkeys(parts, 0)
        self._owners = {module: name for name, part in parts.items() for module in part.modules()}
        self._counter = counter
        self._is_running = False

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Measures while entered."""
        methods = [(module, name) for module in self._owners for name in _methods(type(module))]
        for module, name in methods:
            measured = partial(self._measure, self._owners[module], getattr(module, name))
            setattr(module, name, measured)
        try:
            yield
        finally:
            for module, name in methods:
                delattr(module, name)

    def _measure(self, part: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._is_running:  # for the part that called
            return method(*args, **kwargs)
        before, self._is_running = self._counter.get_total_flops(), True
        try:
            return method(*args, **kwargs)
        finally:
            self._is_running = False
            self.flops[part] += self._counter.get_total_flops() - before


def _methods(kind: type[nn.Module]) -> tuple[str, ...]:
    """Names of `forward` and of the public methods that other modules do not have."""
    names = (name for name, _ in inspect.getmembers(kind, inspect.isfunction))
    return tuple(
        name
        for name in names
        if name == "forward" or not (name.startswith("_") or hasattr(nn.Module, name))
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """The model's children; of its head, the head's children."""
    parts: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        if name == "sem_seg_head":
            parts.update({f"{name}.{key}": part for key, part in child.named_children()})
        elif any(True for _ in child.parameters()):
            parts[name] = child
    return parts


def _share(value: int, whole: int) -> str:
    return f"{100 * value / whole:.1f} %" if whole else ""


def _deformable_flops(
    value: Sequence[int],
    spatial_shapes: Sequence[int],
    level_start_index: Sequence[int],
    sampling_locations: Sequence[int],
    attention_weights: Sequence[int],
    *_: Any,
    **__: Any,
) -> int:
    """Operations of `freeseg.ops.ms_deform_attn`, from the shapes of its arguments."""
    return math.prod(attention_weights) * value[-1] * _READS  # of [B, Q, M, L, P] samples
