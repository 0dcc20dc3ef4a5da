"""Query decoders."""

from freeseg.modeling.decoder.mask2former import (
    TRANSFORMER_DECODER_REGISTRY,
    MultiScaleMaskedTransformerDecoder,
)
from freeseg.modeling.decoder.masked import (
    DecoderSizes,
    MaskedQueryDecoder,
    mask_visibility,
)

__all__ = [
    "TRANSFORMER_DECODER_REGISTRY",
    "DecoderSizes",
    "MaskedQueryDecoder",
    "MultiScaleMaskedTransformerDecoder",
    "mask_visibility",
]
