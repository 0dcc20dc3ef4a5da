"""Mask2Former's query decoder whose queries end in the space of text features.

Shapes: B images, Q queries, C channels, D width of text features, h w mask size.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from detectron2.config import CfgNode, configurable
from freeseg.config import completed
from freeseg.layers import MLP
from freeseg.modeling.decoder.masked import DecoderSizes, MaskedQueryDecoder, learned_queries
from freeseg.structures import EmbeddedMasks, PyramidFeatures, QuerySet
from freeseg.systems.freeseg.config import open_decoder_arguments


class OpenVocabularyDecoder(MaskedQueryDecoder):
    """A fixed set of learned queries, embedded to be compared with texts."""

    @configurable
    def __init__(
        self,
        *,
        sizes: DecoderSizes,
        num_queries: int,
        embedding_hidden_channels: int,
        embedding_channels: int,
        num_embedding_layers: int,
    ) -> None:
        """Builds the decoder.

        Args:
            sizes: As of `MaskedQueryDecoder`.
            num_queries: Learned object queries.
            embedding_hidden_channels: Width inside the net that embeds them.
            embedding_channels: D.
            num_embedding_layers: Layers of that net.
        """
        super().__init__(sizes)
        self.query_feat = nn.Embedding(num_queries, sizes.channels)
        self.query_embed = nn.Embedding(num_queries, sizes.channels)
        self.class_embed = MLP(
            in_channels=sizes.channels,
            hidden_channels=embedding_hidden_channels,
            out_channels=embedding_channels,
            num_layers=num_embedding_layers,
        )

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        arguments = open_decoder_arguments(completed(cfg))
        return {**arguments, "sizes": DecoderSizes(**arguments["sizes"])}

    def forward(self, features: PyramidFeatures) -> list[EmbeddedMasks]:
        """Predictions of the initial queries and after every layer, the final one last."""
        output = self.decode(features, self.object_queries(features.batch_size))
        return [
            EmbeddedMasks(self.class_embed(layer.queries), layer.mask_logits)
            for layer in output.layers
        ]

    def final(self, features: PyramidFeatures) -> EmbeddedMasks:
        """The last of `forward`, computed alone."""
        layer = self.decode_final(features, self.object_queries(features.batch_size))
        return EmbeddedMasks(self.class_embed(layer.queries), layer.mask_logits)

    def object_queries(self, batch_size: int) -> QuerySet:
        """The learned queries, repeated for every image."""
        return learned_queries(self.query_feat, self.query_embed, batch_size)
