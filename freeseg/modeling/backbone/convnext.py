"""ConvNeXt (arXiv 2201.03545) from timm's parts, under the names of its release and OneFormer's.

Shapes: B images, C channels, h w feature size.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import LayerNorm2d
from timm.models.convnext import ConvNeXt, ConvNeXtBlock
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from freeseg.config import completed

NAMES = ("res2", "res3", "res4", "res5")


class D2ConvNeXt(Backbone):
    """Feature pyramid of a ConvNeXt, each map with a layer norm of its own."""

    @configurable
    def __init__(
        self,
        *,
        in_channels: int,
        depths: Sequence[int],
        channels: Sequence[int],
        drop_path_rate: float,
        layer_scale: float,
        out_features: Sequence[str],
    ) -> None:
        """Builds the model.

        Args:
            in_channels: Of the images.
            depths: Blocks of the four stages.
            channels: Widths of the four stages.
            drop_path_rate: Stochastic depth of the last block; earlier ones have less.
            layer_scale: Start value of every block's output scale.
            out_features: Maps to return, among res2 to res5.
        """
        super().__init__()
        unknown = set(out_features) - set(NAMES)
        if unknown:
            raise ValueError(f"ConvNeXt has the maps {NAMES}, got {sorted(unknown)}")
        body = ConvNeXt(
            in_chans=in_channels,
            num_classes=0,
            depths=tuple(depths),
            dims=tuple(channels),
            drop_path_rate=drop_path_rate,
            ls_init_value=layer_scale,
        )
        stems = [body.stem, *(stage.downsample for stage in body.stages[1:])]
        self.downsample_layers = nn.ModuleList(stems)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(block) for block in stage.blocks)) for stage in body.stages
        )
        for index, width in enumerate(channels):
            self.add_module(f"norm{index}", LayerNorm2d(width, eps=1e-6))
        self._out_features = list(out_features)
        self._out_feature_channels = dict(zip(NAMES, channels))
        self._out_feature_strides = {name: 4 * 2**index for index, name in enumerate(NAMES)}

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, object]:
        node = completed(cfg).MODEL.CONVNEXT
        return {
            "in_channels": node.IN_CHANNELS,
            "depths": node.DEPTHS,
            "channels": node.DIMS,
            "drop_path_rate": node.DROP_PATH_RATE,
            "layer_scale": node.LSIT,
            "out_features": node.OUT_FEATURES,
        }

    @property
    def size_divisibility(self) -> int:
        return 32

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps normalised images [B, 3, H, W] to {name: [B, C, H/stride, W/stride]}."""
        maps = {}
        x = images
        for index, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = stage(downsample(x))
            if NAMES[index] in self._out_features:
                maps[NAMES[index]] = getattr(self, f"norm{index}")(x)
        return maps


class _Block(nn.Module):
    """A block of timm's with its parameters under the release's names."""

    def __init__(self, block: ConvNeXtBlock) -> None:
        super().__init__()
        self.gamma = block.gamma
        self.dwconv = block.conv_dw
        self.norm = block.norm
        self.pwconv1 = block.mlp.fc1
        self.activation = block.mlp.act
        self.pwconv2 = block.mlp.fc2
        self.drop_path = block.drop_path

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, h, w] to [B, C, h, w]."""
        hidden = self.norm(self.dwconv(x).permute(0, 2, 3, 1))  # [B, h, w, C]
        hidden = self.pwconv2(self.activation(self.pwconv1(hidden))) * self.gamma
        return x + self.drop_path(hidden.permute(0, 3, 1, 2))
