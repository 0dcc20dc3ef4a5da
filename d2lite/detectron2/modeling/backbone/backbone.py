"""The interface of every network that turns an image batch into named feature maps."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

from torch import nn

from detectron2.layers import ShapeSpec

__all__ = ["Backbone"]


class Backbone(nn.Module, metaclass=ABCMeta):
    """Maps an image batch [B, 3, H, W] to a dict of feature maps.

    Subclasses either override ``output_shape`` or fill ``_out_features`` (names in order),
    ``_out_feature_channels`` and ``_out_feature_strides`` (both keyed by name).
    """

    @abstractmethod
    def forward(self):
        """Return ``{feature name: tensor}``; subclasses choose their own arguments."""

    @property
    def size_divisibility(self) -> int:
        """Number that input height and width must be multiples of; 0 when any size will do."""
        return 0

    @property
    def padding_constraints(self) -> dict[str, int]:
        """Optional padding wishes, with the keys ``size_divisibility`` and ``square_size``."""
        return {}

    def output_shape(self):
        """Return ``{feature name: ShapeSpec(channels, stride)}`` for what ``forward`` returns."""
        channels, strides = self._out_feature_channels, self._out_feature_strides
        return {
            name: ShapeSpec(channels=channels[name], stride=strides[name])
            for name in self._out_features
        }
