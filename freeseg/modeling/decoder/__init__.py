"""Query decoders."""

from freeseg.modeling.decoder.mask2former import (
    TRANSFORMER_DECODER_REGISTRY,
    MultiScaleMaskedTransformerDecoder,
)
from freeseg.modeling.decoder.masked import MaskedQueryDecoder, mask_visibility
from freeseg.modeling.decoder.oneformer import OneFormerDecoder, TaskConditionedOutput
from freeseg.modeling.decoder.open_vocabulary import OpenVocabularyDecoder

__all__ = [
    "TRANSFORMER_DECODER_REGISTRY",
    "MaskedQueryDecoder",
    "MultiScaleMaskedTransformerDecoder",
    "OneFormerDecoder",
    "OpenVocabularyDecoder",
    "TaskConditionedOutput",
    "mask_visibility",
]
