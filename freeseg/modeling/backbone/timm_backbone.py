"""Any timm model with ``features_only`` support as a Detectron2 backbone."""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
from timm.layers import freeze_batch_norm_2d
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
        norm: str = "",
        freeze_at: str = "",
    ) -> None:
        """Builds the model.

        Args:
            name: A name of ``timm.list_models()``.
            out_features: Maps to return, by the names above.
            pretrained: Whether timm loads its published weights (needs the network once).
            drop_path_rate: Stochastic depth; models without it take 0 only.
            norm: "FrozenBN": batch norms keep the statistics and factors of their weights.
            freeze_at: Map up to which no weight is trained; "": all are.

        Raises:
            ValueError: On an unknown model or kind of norms, or a map that it does not have.
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
        unknown = {*out_features, *filter(None, [freeze_at])} - set(self._names)
        if unknown:
            raise ValueError(f"{name} has no map {sorted(unknown)}; it has {self._names}")
        if norm not in ("", "FrozenBN"):
            raise ValueError(f"MODEL.TIMM.NORM is empty or FrozenBN, got {norm!r}")
        if norm:
            self.body = freeze_batch_norm_2d(self.body)
        if freeze_at:
            self._freeze(self._names.index(freeze_at), max(strides))
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
            "norm": node.NORM,
            "freeze_at": node.FREEZE_AT,
        }

    def _freeze(self, number: int, side: int) -> None:
        """Trains nothing that a map, by its number, depends on; asked of its gradients."""
        was_training = self.body.training
        found = self.body.eval()(torch.zeros(1, 3, side, side))[number]
        self.body.train(was_training)
        parameters = list(self.body.parameters())
        gradients = torch.autograd.grad(found.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients):
            parameter.requires_grad_(gradient is None)

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
