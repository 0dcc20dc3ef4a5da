"""Mask2Former's query decoder: learned object queries and a linear classifier.

Shapes: B images, Q queries, C channels, K classes, h w mask size.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from detectron2.config import CfgNode, configurable
from detectron2.utils.registry import Registry
from freeseg.config import completed, query_decoder_arguments
from freeseg.modeling.decoder.masked import DecoderSizes, MaskedQueryDecoder, learned_queries
from freeseg.structures import MaskPrediction, PyramidFeatures, QuerySet

TRANSFORMER_DECODER_REGISTRY = Registry("TRANSFORMER_DECODER")
TRANSFORMER_DECODER_REGISTRY.__doc__ = """
Query decoders by name; each is called as ``decoder(cfg)`` and maps ``PyramidFeatures`` to a list of
``MaskPrediction``, the last one being the final.
"""


@TRANSFORMER_DECODER_REGISTRY.register()
class MultiScaleMaskedTransformerDecoder(MaskedQueryDecoder):
    """A fixed set of learned queries, classified into a closed set of classes."""

    @configurable
    def __init__(
        self,
        *,
        sizes: DecoderSizes,
        num_queries: int,
        num_classes: int,
    ) -> None:
        """Builds the decoder.

        Args:
            sizes: As of `MaskedQueryDecoder`.
            num_queries: Learned object queries.
            num_classes: Classes, without "no object".
        """
        super().__init__(sizes)
        self.query_feat = nn.Embedding(num_queries, sizes.channels)
        self.query_embed = nn.Embedding(num_queries, sizes.channels)
        self.class_embed = nn.Linear(sizes.channels, num_classes + 1)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {
            "sizes": DecoderSizes(**query_decoder_arguments(cfg)),
            "num_queries": completed(cfg).MODEL.MASK_FORMER.NUM_OBJECT_QUERIES,
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
        }

    def forward(self, features: PyramidFeatures) -> list[MaskPrediction]:
        """Predictions of the initial queries and after every layer, the final one last."""
        output = self.decode(features, self.object_queries(features.batch_size))
        return [
            MaskPrediction(self.class_embed(layer.queries), layer.mask_logits)
            for layer in output.layers
        ]

    def final(self, features: PyramidFeatures) -> MaskPrediction:
        """The last of `forward`, computed alone."""
        layer = self.decode_final(features, self.object_queries(features.batch_size))
        return MaskPrediction(self.class_embed(layer.queries), layer.mask_logits)

    def object_queries(self, batch_size: int) -> QuerySet:
        """The learned queries, repeated for every image."""
        return learned_queries(self.query_feat, self.query_embed, batch_size)
