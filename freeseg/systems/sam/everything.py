"""Points at what SAM has encoded, very often: a click on every point of a grid, each alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from freeseg.inference.everything import Candidates, PointedWindow
from freeseg.structures.marks import ON
from freeseg.systems.sam.answers import photo_logits
from freeseg.systems.sam.click_decoder import ClickDecoder
from freeseg.systems.sam.features import EmbeddingFeatures
from freeseg.systems.sam.mask_decoder import MaskDecoder
from freeseg.systems.sam.prompt_encoder import PromptEncoder
from freeseg.systems.sam.prompts import NO_POINT, PointPrompts

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
    frame, maps = features.frames[row], [each[row : row + 1] for each in features.maps]
    device, side = maps[0].device, features.padded_size[0]
    height, width = maps[0].shape[-2:]
    positions = prompt_encoder.positions((height, width))
    decode_clicks = (_each_alone if prompt_encoder.draws_maps else _sharing)(
        prompt_encoder, mask_decoder, maps, positions, side
    )

    def decode(points: Tensor) -> Candidates:
        clicks = frame.to_model(points).float().to(device)[:, None]
        labels = torch.tensor([ON, NO_POINT], device=device).expand(len(clicks), -1)
        return decode_clicks(PointPrompts(clicks.expand(-1, 2, -1), labels))

    at_once = CLICKS_AT_ONCE if device.type == "cpu" else None
    return PointedWindow(frame, decode, lambda logits: photo_logits(logits, frame), at_once)


def _sharing(
    encoder: PromptEncoder,
    mask_decoder: MaskDecoder,
    maps: Sequence[Tensor],
    positions: Tensor,
    side: int,
) -> Callable[[PointPrompts], Candidates]:
    """Decodes clicks that are tokens alone, so that they share what is known of the image."""
    absent = encoder.no_mask_embed.weight[..., None, None]  # [1, C, 1, 1]
    decoder = ClickDecoder(mask_decoder, maps[0], positions, absent, maps[1:])

    def decode(prompts: PointPrompts) -> Candidates:
        found = decoder(encoder.embed_points(prompts.points, prompts.labels, side, maps))
        return Candidates(found.qualities, lambda chosen: decoder.masks(found, chosen))

    return decode


def _each_alone(
    encoder: PromptEncoder,
    mask_decoder: MaskDecoder,
    maps: Sequence[Tensor],
    positions: Tensor,
    side: int,
) -> Callable[[PointPrompts], Candidates]:
    """Decodes clicks that are also drawn, each in its own image."""

    def decode(prompts: PointPrompts) -> Candidates:
        embedding, *details = (each.expand(len(prompts), -1, -1, -1) for each in maps)
        found = mask_decoder(embedding, positions, encoder(prompts, side, maps), details)
        used = mask_decoder.for_one
        masks = found.mask_logits[:, used]
        return Candidates(found.qualities[:, used], lambda chosen: iter([masks[chosen]]))

    return decode
