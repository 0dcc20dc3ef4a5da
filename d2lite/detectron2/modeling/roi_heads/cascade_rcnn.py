"""The gradient scaling of cascades; their heads are in the real package."""

from __future__ import annotations

from torch.autograd import Function


class _ScaleGradient(Function):
    """Identity whose gradient is multiplied by ``scale``."""

    @staticmethod
    def forward(ctx, input, scale):
        ctx.scale = scale
        return input.view_as(input)

    @staticmethod
    def backward(ctx, grad_output):
        return ctx.scale * grad_output, None
