"""Points at what SAM has encoded, very often: a click on every point of a grid, each alone."""

from __future__ import annotations

import torch
from torch import Tensor

from freeseg.inference.everything import Candidates, PointedWindow
from freeseg.structures.marks import ON
from freeseg.systems.sam.answers import photo_logits
from freeseg.systems.sam.click_decoder import ClickDecoder
from freeseg.systems.sam.features import EmbeddingFeatures
from freeseg.systems.sam.mask_decoder import MaskDecoder
from freeseg.systems.sam.prompt_encoder import PromptEncoder
from freeseg.systems.sam.prompts import NO_POINT

CLICKS_AT_ONCE = 4  # on a processor: their maps stay in its cache


def pointed_window(
    features: EmbeddingFeatures, row: int, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder
) -> PointedWindow:
    """One encoded window of a photo, with what decodes clicks at it.

    Args:
        features: Of images.
        row: Which of them.
        prompt_encoder: Of the system.
        mask_decoder: Likewise.
    """
    frame, embedding = features.frames[row], features.embedding[row : row + 1]
    side = features.padded_size[0]
    height, width = embedding.shape[-2:]
    positions = prompt_encoder.positions((height, width))
    absent = prompt_encoder.no_mask_embed.weight[..., None, None]  # [1, C, 1, 1]
    decoder = ClickDecoder(mask_decoder, embedding, positions, absent)

    def decode(points: Tensor) -> Candidates:
        clicks = frame.to_model(points).float().to(embedding.device)[:, None]
        labels = torch.tensor([ON, NO_POINT], device=embedding.device).expand(len(clicks), -1)
        tokens = prompt_encoder.embed_points(clicks.expand(-1, 2, -1), labels, side)
        found = decoder(tokens)
        return Candidates(found.qualities, lambda chosen: decoder.masks(found, chosen))

    at_once = CLICKS_AT_ONCE if embedding.device.type == "cpu" else None
    return PointedWindow(frame, decode, lambda logits: photo_logits(logits, frame), at_once)
