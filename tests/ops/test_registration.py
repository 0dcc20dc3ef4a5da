from __future__ import annotations

import pytest
import torch
from torch import nn

from freeseg.ops import ms_deform_attn

OPERATOR = torch.ops.freeseg.ms_deform_attn.default


class Attend(nn.Module):
    def forward(self, value, shapes, starts, locations, weights):
        return ms_deform_attn(value * 2, shapes, starts, locations, weights) + 1


def test_operator_keeps_pytorchs_rules(random_case, implementation):
    value, shapes, starts, locations, weights = random_case([(3, 4), (2, 2)])
    inputs = (
        value.requires_grad_(),
        shapes,
        starts,
        locations.requires_grad_(),
        weights.requires_grad_(),
    )
    results = torch.library.opcheck(
        OPERATOR,
        inputs,
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
    assert set(results.values()) == {"SUCCESS"}


def test_compiled_model_is_one_graph_with_equal_output_and_gradients(random_case, implementation):
    arguments = random_case([(3, 4), (2, 2)])
    compiled = torch.compile(Attend(), backend="aot_eager", fullgraph=True)
    results = []
    for model in (Attend(), compiled):
        value = arguments[0].clone().requires_grad_()
        attended = model(value, *arguments[1:])
        (gradient,) = torch.autograd.grad(attended.square().sum(), value)
        results.append((attended, gradient))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)


def test_exported_program_holds_the_operator(random_case, implementation):
    arguments = random_case([(3, 4), (2, 2)])
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(
        Attend(), arguments, dynamic_shapes=({0: batch}, None, None, {0: batch}, {0: batch})
    )
    assert OPERATOR in {node.target for node in program.graph.nodes}
    larger = random_case([(3, 4), (2, 2)], batch=5, seed=1)
    torch.testing.assert_close(program.module()(*larger), Attend()(*larger))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_keeps_locations_exact(dtype, random_case, implementation):
    _, shapes, starts, locations, weights = random_case([(3, 4)], dtype=torch.float32)
    torch.manual_seed(0)
    project, source = nn.Linear(6, 6), torch.randn(2, 12, 6)
    with torch.autocast("cpu", dtype=dtype):
        value = project(source).unflatten(-1, (2, 3))
        attended = ms_deform_attn(value, shapes, starts, locations, weights)
    assert value.dtype == attended.dtype == dtype
    expected = ms_deform_attn(value.float(), shapes, starts, locations, weights)
    assert torch.equal(attended, expected.to(dtype))


def test_vmap_is_refused_with_what_to_do(random_case):
    arguments = random_case([(3, 4)])
    with pytest.raises(NotImplementedError, match="takes a batch already"):
        torch.func.vmap(lambda value: ms_deform_attn(value, *arguments[1:]))(arguments[0][None])


def test_shapes_are_known_without_values(random_case):
    value, _, _, locations, weights = (tensor.to("meta") for tensor in random_case([(3, 4)]))
    shapes, starts = random_case([(3, 4)])[1:3]
    attended = ms_deform_attn(value, shapes, starts, locations, weights)
    assert attended.shape == (2, 4, 6)
    assert attended.device.type == "meta"
