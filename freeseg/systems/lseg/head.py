"""LSeg's semantic head: a pyramid becomes pixel embeddings, which are compared with texts.

Shapes: B images, C channels of the fusion, D width of texts, T texts, K classes, H W size of the
padded image.
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
from freeseg.config import completed
from freeseg.names import register
from freeseg.structures import PyramidFeatures, Vocabulary
from freeseg.systems.lseg.config import lseg_head_arguments
from freeseg.systems.lseg.fusion import FusionBlock, double
from freeseg.systems.lseg.regularisation import SpatialRegularisation, build_regularisation

MIN_LENGTH = 1e-12  # of an embedding, to divide by


@register(SEM_SEG_HEADS_REGISTRY)
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
        return lseg_head_arguments(completed(cfg), input_shape)

    def encode_image(
        self,
        features: Mapping[str, Tensor],
        padded_size: tuple[int, int],
        image_sizes: Sequence[tuple[int, int]],
    ) -> PyramidFeatures:
        """What pixels are compared by, of maps {name: [B, C', h', w']}.

        The embedding of a pixel is A (z, 1), where z are its C channels and A [D, C+1] is the
        weight of ``head1`` beside its bias. It is never computed: ``mask_features`` is (z, 1) at
        stride 4, [B, C+1, H/4, W/4], and the one level is its length at stride 2,
        [B, 1, H/2, W/2].
        """
        pixels = self.pixels(features)
        lengths = self.lengths(pixels, self.length_matrix())
        return PyramidFeatures.of_sizes((lengths,), pixels, padded_size, image_sizes)

    def pixels(self, features: Mapping[str, Tensor]) -> Tensor:
        """(z, 1) of maps {name: [B, C', h', w']}: [B, C+1, H/4, W/4]."""
        z: Tensor | None = None
        for number in range(len(self.in_features), 0, -1):
            fine = self.get_submodule(f"layer{number}_rn")(features[self.in_features[number - 1]])
            z = self.get_submodule(f"refinenet{number}")(z, fine)
        assert z is not None
        return F.pad(z.float(), (0, 0, 0, 0, 0, 1), value=1.0)

    @staticmethod
    def lengths(pixels: Tensor, matrix: Tensor) -> Tensor:
        """Lengths [B, 1, H/2, W/2] of the embeddings of pixels, by `length_matrix`."""
        with torch.autocast(device_type=pixels.device.type, enabled=False):
            coordinates = double(_project(pixels, matrix))
            return coordinates.norm(dim=1, keepdim=True).clamp(min=MIN_LENGTH)

    def forward(self, features: PyramidFeatures, text: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Logits [B, K, H/2, W/2] of the classes of one vocabulary, regularised.

        Args:
            features: Of `encode_image`.
            text: Unit vectors [T, D] of the vocabulary's texts.
            vocabulary: K classes; a pixel belongs to one as much as to the best of its texts.
        """
        return self.regularise(self.classify(features, text, vocabulary))

    def regularise(self, logits: Tensor) -> Tensor:
        """Logits [B, K, H/2, W/2] after the spatial regularisation, if there is one."""
        return logits if self.head_block is None else self.head_block(logits)

    def classify(self, features: PyramidFeatures, text: Tensor, vocabulary: Vocabulary) -> Tensor:
        """Logits [B, K, H/2, W/2] before the regularisation: scaled cosines."""
        (lengths,) = features.levels
        logits = self.cosines(features.mask_features, lengths, self.text_matrix(text))
        return vocabulary.merge_synonyms(logits.movedim(1, -1)).movedim(-1, 1)

    def cosines(self, pixels: Tensor, lengths: Tensor, matrix: Tensor) -> Tensor:
        """Scaled cosines [B, T, H/2, W/2] of pixels with texts, by `text_matrix`."""
        with torch.autocast(device_type=pixels.device.type, enabled=False):
            return self.logit_scale * double(_project(pixels, matrix)) / lengths

    def text_matrix(self, text: Tensor) -> Tensor:
        """What gives the products of pixels (z, 1) with texts [T, D]: [T, C+1]."""
        with torch.autocast(device_type=text.device.type, enabled=False):
            return text.float() @ self._embedding_matrix()

    def length_matrix(self) -> Tensor:
        """What gives vectors as long as the embeddings of pixels: [min(D, C+1), C+1]."""
        with torch.autocast(device_type=self.head1.weight.device.type, enabled=False):
            return _shorten(self._embedding_matrix())

    def _embedding_matrix(self) -> Tensor:
        """A [D, C+1]."""
        assert self.head1.bias is not None
        return torch.cat([self.head1.weight[:, :, 0, 0], self.head1.bias[:, None]], dim=1).float()


def _project(pixels: Tensor, matrix: Tensor) -> Tensor:
    """A matrix [N, C+1] times the vectors of pixels [B, C+1, h, w]: [B, N, h, w]."""
    return F.conv2d(pixels, matrix[:, :, None, None])


def _shorten(matrix: Tensor) -> Tensor:
    """A matrix [min(D, C+1), C+1] that gives vectors of the same lengths as one [D, C+1].

    Q spans the columns of A, so that Q'A keeps lengths; the derivative of a length by A is the
    same too, although Q is held constant, since Q Q'A = A.
    """
    if matrix.shape[0] <= matrix.shape[1]:
        return matrix
    with torch.no_grad():
        basis = torch.linalg.qr(matrix).Q  # [D, C+1]
    return basis.mT @ matrix
