"""A backbone of one's own: says what it gives, and everything behind it is built to fit."""

from __future__ import annotations

from torch import Tensor, nn

from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone


@BACKBONE_REGISTRY.register()
class FourConvolutions(Backbone):
    """Maps res2 .. res5 at strides 4 .. 32, each one convolution after the one before."""

    def __init__(self, cfg, input_shape: ShapeSpec) -> None:
        super().__init__()
        widths = {"res2": 16, "res3": 32, "res4": 48, "res5": 64}
        self.stages = nn.ModuleDict()
        before, stride, self._shapes = input_shape.channels, 1, {}
        for name, width in widths.items():
            step = 4 if stride == 1 else 2
            self.stages[name] = nn.Sequential(
                nn.Conv2d(before, width, 2 * step - 1, stride=step, padding=step - 1),
                nn.GroupNorm(4, width),
                nn.ReLU(),
            )
            before, stride = width, stride * step
            self._shapes[name] = ShapeSpec(channels=width, stride=stride)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = {}
        for name, stage in self.stages.items():
            images = maps[name] = stage(images)
        return maps

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shapes
