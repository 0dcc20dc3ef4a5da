"""Counts of a small model that takes and gives what Detectron2's models do, by hand."""

import pytest
import torch
from torch import nn

from detectron2.structures import Boxes, Instances
from detectron2.utils.analysis import (
    FlopCountAnalysis,
    activation_count_operators,
    find_unused_parameters,
    flop_count_operators,
    parameter_count,
    parameter_count_table,
)

INPUTS = [{"image": torch.ones(3, 8, 10), "height": 16, "file_name": "a.jpg"}]
CONV_FLOPS = 4 * 8 * 10 * 3 * 9  # outputs times the inputs of each
LINEAR_FLOPS = 4 * 2


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4, 2)
        self.unused = nn.Linear(5, 5)

    def forward(self, batch):
        features = self.conv(torch.stack([record["image"] for record in batch]))
        scores = self.linear(features.mean(dim=(2, 3)))
        if self.training:
            return {"loss_scores": scores.sum(), "loss_features": features.mean()}
        boxes = Boxes(scores.new_zeros(2, 4))
        return [{"instances": Instances((8, 10), scores=row, pred_boxes=boxes)} for row in scores]


def test_operations_are_counted_by_operator_and_by_module():
    model = Detector()
    expected = {"conv": CONV_FLOPS / 1e9, "linear": LINEAR_FLOPS / 1e9}
    assert dict(flop_count_operators(model, INPUTS)) == pytest.approx(expected)
    assert model.training
    analysis = FlopCountAnalysis(model.eval(), (INPUTS,))
    assert analysis.total() == CONV_FLOPS + LINEAR_FLOPS
    assert analysis.by_module()["model.conv"] == CONV_FLOPS


def test_activations_are_outputs_of_convolutions_and_products():
    model = Detector()
    counts = activation_count_operators(model, INPUTS)
    assert dict(counts) == pytest.approx({"conv": 4 * 8 * 10 / 1e6, "linear": 2 / 1e6})
    assert model.training
    with pytest.raises(AssertionError):
        activation_count_operators(model, INPUTS * 2)


def test_parameters_without_a_gradient_are_named():
    model = Detector()
    assert find_unused_parameters(model, INPUTS) == ["unused.weight", "unused.bias"]
    assert find_unused_parameters(model, (INPUTS,)) == ["unused.weight", "unused.bias"]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_parameters_are_counted():
    assert parameter_count(Detector())["conv"] == 4 * 3 * 9 + 4
    assert "conv.weight" in parameter_count_table(Detector(), max_depth=2)
