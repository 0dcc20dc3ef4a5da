"""LSeg's semantic head: a pyramid becomes pixel embeddings, which are compared with texts.

Shapes: B images, C channels of the fusion, D width of texts, T texts, K classes, h w half the
size of the padded image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from freeseg.config_lseg import lseg_head_arguments
from freeseg.modeling.fusion import FusionBlock
from freeseg.modeling.regularisation import SpatialRegularisation, build_regularisation
from freeseg.structures import ImageFeatures, Vocabulary


@SEM_SEG_HEADS_REGISTRY.register()
class LSegHead(nn.Module):
    """Fuses four maps, embeds pixels in the space of texts, and regularises their logits.

    Names of weights are those of the release's ``scratch``. The image is encoded once
    (`encode_image`), and compared with as many label lists as asked for (`classify`).
    """

    @configurable
    def __init__(
        self,
        *,
        input_shape: Mapping[str, ShapeSpec],
        channels: int,
        embedding_channels: int,
        norm: str,
        logit_scale: float,
        regularisation: Mapping[str, Any],
    ) -> None:
        """Builds the parts.

        Args:
            input_shape: Of four maps, fine to coarse, each half as large as the one before.
            channels: C.
            embedding_channels: D.
            norm: Of the fusion, as Detectron2 names it.
            logit_scale: Factor of the cosines, a constant.
            regularisation: Arguments of `build_regularisation`.
        """
        super().__init__()
        if len(input_shape) != 4:
            raise ValueError(f"LSegHead fuses four maps, got {sorted(input_shape)}")
        self.in_features = tuple(input_shape)
        for number, shape in enumerate(input_shape.values(), start=1):
            project = nn.Conv2d(int(shape.channels or 0), channels, 3, padding=1, bias=False)
            self.add_module(f"layer{number}_rn", project)
            self.add_module(f"refinenet{number}", FusionBlock(channels, norm))
        # Parity: a unit for what comes from below the coarsest map, which is nothing
        self.get_submodule("refinenet4.resConfUnit1").requires_grad_(False)
        self.head1 = nn.Conv2d(channels, embedding_channels, kernel_size=1)
        self.logit_scale = logit_scale
        self.head_block: SpatialRegularisation | None = build_regularisation(**regularisation)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        return lseg_head_arguments(cfg, input_shape)

    def encode_image(
        self,
        features: Mapping[str, Tensor],
        padded_size: tuple[int, int],
        image_sizes: Sequence[tuple[int, int]],
    ) -> ImageFeatures:
        """Pixel embeddings, unit vectors [B, D, h, w], of maps {name: [B, C', h', w']}."""
        x: Tensor | None = None
        for number in range(len(self.in_features), 0, -1):
            fine = self.get_submodule(f"layer{number}_rn")(features[self.in_features[number - 1]])
            x = self.get_submodule(f"refinenet{number}")(x, fine)
        # in float32: half precision is too short for the sum of squares
        embedding = F.normalize(self.head1(x).float(), dim=1)
        return ImageFeatures((), embedding, padded_size, tuple(image_sizes))

    def forward(self, features: ImageFeatures, text: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Logits [B, K, h, w] of the classes of one vocabulary, regularised.

        Args:
            features: Of `encode_image`.
            text: Unit vectors [T, D] of the vocabulary's texts.
            vocabulary: K classes; a pixel belongs to one as much as to the best of its texts.
        """
        logits = self.classify(features, text, vocabulary)
        return logits if self.head_block is None else self.head_block(logits)

    def classify(self, features: ImageFeatures, text: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Logits [B, K, h, w] before the regularisation."""
        with torch.autocast(device_type=text.device.type, enabled=False):
            cosines = torch.einsum("bdhw,td->bthw", features.mask_features, text.float())
        logits = self.logit_scale * cosines  # [B, T, h, w]
        return vocabulary.merge_synonyms(logits.movedim(1, -1)).movedim(-1, 1)
