"""Counts of parameters, floating-point operations and activations: fvcore's, for any inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fvcore.nn
import torch
from fvcore.nn import parameter_count, parameter_count_table
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from detectron2.structures import Instances

__all__ = [
    "FlopCountAnalysis",
    "activation_count_operators",
    "find_unused_parameters",
    "flop_count_operators",
    "parameter_count",
    "parameter_count_table",
]

FLOPS_MODE, ACTIVATIONS_MODE = "flops", "activations"


class FlopCountAnalysis(fvcore.nn.FlopCountAnalysis):
    """fvcore's analysis; ``inputs`` is an argument or a tuple of them, of any structure."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        traceable = _Traceable(model, inputs)
        super().__init__(traceable, traceable.tensors)


def flop_count_operators(model: nn.Module, inputs: list) -> dict[str, float]:
    """Return the 10^9 operations of each operator in evaluation mode."""
    was_training = model.training
    counts = FlopCountAnalysis(model.eval(), inputs).by_operator()
    model.train(was_training)
    return {name: count / 1e9 for name, count in counts.items()}


def activation_count_operators(
    model: nn.Module, inputs: list, *, supported_ops: dict[str, Any] | None = None
) -> dict[str, float]:
    """Return the 10^6 activations of each operator in evaluation mode, of one image alone."""
    assert len(inputs) == 1, f"activations are counted of one image, not of {len(inputs)}"
    if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        model = model.module
    was_training = model.training
    traceable = _Traceable(model.eval(), [{"image": inputs[0]["image"]}])
    counts, _ = fvcore.nn.activation_count(traceable, traceable.tensors, supported_ops)
    model.train(was_training)
    return counts


def find_unused_parameters(model: nn.Module, inputs: Any) -> list[str]:
    """Return the parameters that the losses do not depend on; gradients are None afterwards."""
    assert model.training, "a model returns its losses in training mode"
    losses = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    model.zero_grad()
    (sum(losses.values()) if isinstance(losses, dict) else losses).backward()
    unused = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    model.zero_grad()
    return unused


class _Traceable(nn.Module):
    """Takes the tensors of its example inputs and returns those of the outputs."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__()
        self.model = model
        arguments = inputs if isinstance(inputs, tuple) else (inputs,)
        self.leaves, self.structure = tree_flatten(arguments)
        self.tensors = tuple(leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor))

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = iter(tensors)
        leaves = [next(given) if isinstance(leaf, torch.Tensor) else leaf for leaf in self.leaves]
        return tuple(_tensors_in(self.model(*tree_unflatten(leaves, self.structure))))


def _tensors_in(outputs: Any) -> Iterator[torch.Tensor]:
    if isinstance(outputs, Instances):
        outputs = outputs.get_fields()
    if isinstance(outputs, torch.Tensor):
        yield outputs
    elif isinstance(outputs, (dict, list, tuple)):
        for output in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _tensors_in(output)
    elif hasattr(outputs, "tensor"):  # boxes, masks
        yield outputs.tensor
