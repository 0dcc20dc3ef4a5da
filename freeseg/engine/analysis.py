"""How large a model is and how much it computes, by its parts.

Shapes: B images, Q queries, M heads, D channels per head, L levels, P points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

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
    """Returns the size of the whole model and of its parts.

    Counted are matrix products, convolutions, attention and our deformable attention; what is
    elementwise is not. Work in no part (resizing results, say) is in the whole only.

    Args:
        model: Keeps Detectron2's contract, on any device.
        inputs: What it is run on; figures are for one of them.
    """
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.freeseg.ms_deform_attn: _deformable_flops}
    )
    with counter, torch.no_grad():
        model.eval()(list(inputs))
    counts = counter.get_flop_counts()
    root = type(model).__name__
    parts = {"": model, **_parts(model)}
    return [
        PartSize(
            name,
            sum(parameter.numel() for parameter in part.parameters()),
            sum(counts.get(f"{root}.{name}" if name else "Global", {}).values()) // len(inputs),
        )
        for name, part in parts.items()
    ]


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
    samples = 1
    for side in attention_weights:  # [B, Q, M, L, P]
        samples *= side
    return samples * value[-1] * _READS
