"""Any timm model with ``features_only`` support as a Detectron2 backbone."""

from __future__ import annotations

from collections.abc import Sequence

import timm
from torch import Tensor, nn

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from freeseg.config import completed


class TimmBackbone(Backbone):
    """Feature pyramid of a timm model, named as Detectron2's ResNet names it.

    A map of stride 2^n is called ``res<n>``, so ``res2`` to ``res5`` have strides 4 to 32. Models
    whose maps share a stride (plain ViTs) call them ``stage1``, ``stage2``, ... instead.
    """

    @configurable
    def __init__(
        self,
        *,
        name: str,
        out_features: Sequence[str],
        pretrained: bool = False,
        drop_path_rate: float = 0.0,
    ) -> None:
        """Builds the model.

        Args:
            name: A name of ``timm.list_models()``.
            out_features: Maps to return, by the names above.
            pretrained: Whether timm loads its published weights (needs the network once).
            drop_path_rate: Stochastic depth; models without it take 0 only.

        Raises:
            ValueError: On an unknown model, or a map that it does not have.
        """
        super().__init__()
        if not timm.is_model(name):
            close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:8])
            raise ValueError(f"timm has no model named {name!r}; close ones: {close or 'none'}")
        options = {"drop_path_rate": drop_path_rate} if drop_path_rate else {}
        self.body: nn.Module = timm.create_model(
            name, features_only=True, pretrained=pretrained, **options
        )
        strides = self.body.feature_info.reduction()
        channels = self.body.feature_info.channels()
        self._names = _feature_names(strides)
        unknown = set(out_features) - set(self._names)
        if unknown:
            raise ValueError(f"{name} has no map {sorted(unknown)}; it has {self._names}")
        self._out_features = list(out_features)
        self._out_feature_channels = dict(zip(self._names, channels))
        self._out_feature_strides = dict(zip(self._names, strides))

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, object]:
        node = completed(cfg).MODEL.TIMM
        return {
            "name": node.NAME,
            "out_features": node.OUT_FEATURES,
            "pretrained": node.PRETRAINED,
            "drop_path_rate": node.DROP_PATH_RATE,
        }

    @property
    def size_divisibility(self) -> int:
        return int(max(self._out_feature_strides[name] for name in self._out_features))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps normalised images [B, 3, H, W] to {name: [B, C, H/stride, W/stride]}."""
        maps = dict(zip(self._names, self.body(images)))
        return {name: maps[name] for name in self._out_features}


def _feature_names(strides: Sequence[int]) -> list[str]:
    if len(set(strides)) == len(strides):
        return [f"res{stride.bit_length() - 1}" for stride in strides]
    return [f"stage{number}" for number in range(1, len(strides) + 1)]
