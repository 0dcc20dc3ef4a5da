"""Two opinions on the class of a proposal, mixed by how well each knows the class.

Shapes: Q queries, N of them not empty, K classes, T texts of them, D width of text features,
H W image size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from freeseg.inference import upsample
from freeseg.modeling import class_logits
from freeseg.structures import Frame, Vocabulary
from freeseg.systems.freeseg.crops import MaskCrops, crop_features, require_image_tower
from freeseg.text import TextEncoder

MASKS_AT_ONCE = 8  # whose probabilities are in memory at the image's size


@dataclass(frozen=True)
class ProposalEnsemble:
    """CLIP's opinion on every proposal, beside the trained model's.

    Attributes:
        crops: How proposals are shown to CLIP.
        weight: Of the trained model on classes that it has seen; 0 leaves CLIP alone.
        objectness: CLIP, which must name every crop, says what it is if it is an object: its
            probabilities are multiplied by the trained model's that it is one, as FC-CLIP
            (Yu et al. 2023, arXiv 2308.02487) has it. The release lets them count in full.
    """

    crops: MaskCrops
    weight: float
    objectness: bool = False

    def __call__(
        self,
        encoder: TextEncoder,
        image: Tensor,
        masks: Tensor,
        query_probs: Tensor,
        text: Tensor,
        vocabulary: Vocabulary,
    ) -> Tensor:
        """Class scores [Q, K].

        Args:
            encoder: With an image tower.
            image: RGB [3, H, W], 0..255.
            masks: Bool [Q, H, W], the proposals.
            query_probs: [Q, K], of the trained model; what a row lacks to 1 is "no object".
            text: Unit vectors [T, D] of the classes' texts.
            vocabulary: The K classes.
        """
        tower = require_image_tower(encoder)
        found, is_shown = crop_features(tower, image, masks, self.crops)
        crop_probs = query_probs.new_ones(query_probs.shape)
        crop_logits = class_logits(vocabulary, found, text)  # [N, K]
        crop_probs[is_shown] = crop_logits.softmax(-1).to(crop_probs)
        if self.objectness:
            crop_probs = crop_probs * query_probs.sum(-1, keepdim=True)
        if self.weight <= 0:
            return crop_probs * is_shown[:, None]
        is_seen = vocabulary.seen_mask(like=query_probs)
        return geometric_ensemble(query_probs, crop_probs, is_seen, self.weight)


def geometric_ensemble(
    query_probs: Tensor, crop_probs: Tensor, is_seen: Tensor, weight: float
) -> Tensor:
    """Weighted geometric mean [Q, K]; the trained model is trusted on classes it has seen.

    A seen class gets ``query^weight * crop^(1 - weight)``, an unseen one the exponents swapped.

    Args:
        query_probs: [Q, K], of the trained model.
        crop_probs: [Q, K], of CLIP on the crop; 1 where it saw nothing.
        is_seen: Bool [K].
        weight: In 0..1, of the trained model on seen classes.
    """
    exponent = is_seen.to(query_probs) * (2 * weight - 1) + 1 - weight  # weight or 1 - weight
    return query_probs**exponent * crop_probs ** (1 - exponent)


def binary_masks(mask_logits: Tensor, frame: Frame, min_probability: float) -> Tensor:
    """Proposals as bool [Q, H, W]: where they are more probable than a threshold.

    Args:
        mask_logits: [Q, h, w].
        frame: Of the image, at whose size H W they are.
        min_probability: The threshold.
    """
    size = frame.model_size
    masks = mask_logits.new_empty((len(mask_logits), *size), dtype=torch.bool)
    for logits, place in zip(mask_logits.split(MASKS_AT_ONCE), masks.split(MASKS_AT_ONCE)):
        place.copy_(upsample(logits, frame, size).sigmoid_() > min_probability)
    return masks
