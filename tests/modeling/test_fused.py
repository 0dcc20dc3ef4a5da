from __future__ import annotations

import pytest
import torch
from torch import nn

from detectron2.layers import Conv2d, FrozenBatchNorm2d
from freeseg.modeling import fuse_for_inference


def convolutions():
    """Two of Detectron2's convolutions with batch norms of both kinds, one with a group norm."""
    generator = torch.Generator().manual_seed(0)
    norms = [FrozenBatchNorm2d(8), nn.BatchNorm2d(8)]
    for norm in norms:
        for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
            tensor.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    return nn.Sequential(
        Conv2d(3, 8, kernel_size=3, padding=1, bias=False, norm=norms[0]),
        Conv2d(8, 8, kernel_size=1, norm=norms[1], activation=torch.relu),
        Conv2d(8, 8, kernel_size=1, norm=nn.GroupNorm(4, 8)),
    )


@torch.no_grad()
def test_fused_model_computes_the_same_without_batch_norms():
    torch.manual_seed(0)
    model, image = convolutions().eval(), torch.randn(2, 3, 9, 7)
    expected = model(image)
    fused = fuse_for_inference(model)
    torch.testing.assert_close(fused(image), expected, rtol=1e-4, atol=1e-5)
    assert [type(part.norm) for part in fused] == [type(None), type(None), nn.GroupNorm]
    assert fused[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_training_model_is_refused():
    with pytest.raises(ValueError, match="call eval"):
        fuse_for_inference(convolutions())
