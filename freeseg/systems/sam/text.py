"""Phrases as SAM's paper has them (appendix D.5): pictures of objects in training, words at test.

Shapes: N objects, D width of CLIP's features, H W size of the square, S side of CLIP's pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from freeseg.ops import mask_areas, mask_boxes, masked_crops
from freeseg.systems.sam.training import Objects
from freeseg.text import (
    ClipAdapter,
    ImageTextEncoder,
    TemplatePrompts,
    TextEncoder,
    TextFeatureCache,
)

AT_ONCE = 8  # pictures that are cut together: each needs as many rows of the image as it gets


@dataclass(frozen=True)
class PictureTraining:
    """Which objects begin with a picture of them in training, and what it shows.

    Attributes:
        min_area: Pixels of the square that an object needs more of.
        share: Probability that such an object begins so.
        most_context: The side of the square around the object's box is enlarged by 1 to this.
        masked_share: Probability that what is not the object is painted over.
    """

    min_area: int = 100**2
    share: float = 1.0
    most_context: float = 2.0
    masked_share: float = 0.5


class PhraseEncoder(ClipAdapter):
    """A frozen CLIP: words and pictures of objects become unit vectors of one space.

    Args:
        clip_model: With both towers.
        templates: Sentences around a phrase, whose mean feature is taken.
        pictures: Of objects in training.
        saves_encoder: Whether checkpoints hold the CLIP.
        cache: Of the features of phrases.

    Raises:
        ValueError: The encoder has no image tower.
    """

    clip_model: ImageTextEncoder

    def __init__(
        self,
        *,
        clip_model: TextEncoder,
        templates: Sequence[str] = ("{}",),
        pictures: PictureTraining | None = None,
        saves_encoder: bool = True,
        cache: TextFeatureCache | None = None,
    ) -> None:
        if not isinstance(clip_model, ImageTextEncoder):
            raise ValueError(
                f"SAM learns phrases from pictures, and {type(clip_model).__name__} sees none: "
                "MODEL.TEXT_ENCODER.NAME must be open_clip, clip or toy_clip"
            )
        super().__init__(
            clip_model=clip_model,
            prompt_learner=TemplatePrompts(templates),
            has_void=False,
            saves_encoder=saves_encoder,
            cache=cache,
        )
        self.pictures = pictures or PictureTraining()

    def of_phrases(self, phrases: Sequence[str | None]) -> Tensor:
        """Features [N, D] of phrases; rows of NaN where there is none."""
        absent = torch.full((1, self.clip_model.dim), torch.nan, device=self.clip_model.device)
        rows = [absent if text is None else self.class_features([text], "") for text in phrases]
        return torch.cat(rows)

    def of_objects(
        self, images: Sequence[Tensor], objects: Objects, generator: torch.Generator
    ) -> Tensor:
        """Features [N, D] of pictures of objects; rows of NaN where one does not begin so.

        Args:
            images: RGB [3, h, w], 0..255, at the top left of the squares.
            objects: Of them.
            generator: Says which objects, how much around them, and whether it is painted over.
        """
        settings, masks = self.pictures, objects.masks
        drawn = torch.rand(3, len(masks), generator=generator).to(masks.device)
        begins = (drawn[0] < settings.share) & (mask_areas(masks) > settings.min_area)
        boxes = square_boxes(masks, 1 + drawn[1] * (settings.most_context - 1))
        is_masked = drawn[2] < settings.masked_share
        rows = torch.tensor(objects.rows, device=masks.device)
        features = torch.full((len(masks), self.clip_model.dim), torch.nan, device=masks.device)
        for row, image in enumerate(images):
            chosen = torch.nonzero(begins & (rows == row))[:, 0]
            for start in range(0, len(chosen), AT_ONCE):
                some = chosen[start : start + AT_ONCE]
                features[some] = self.of_crops(image, masks[some], boxes[some], is_masked[some])
        return features

    @torch.no_grad()
    def of_crops(self, image: Tensor, masks: Tensor, boxes: Tensor, is_masked: Tensor) -> Tensor:
        """Features [N, D] of what boxes show of an image.

        Args:
            image: RGB [3, h, w], 0..255.
            masks: Bool [N, H, W], of the objects.
            boxes: [N, 4], xyxy in whole pixels; they may leave the image.
            is_masked: Bool [N], whether what is not the object has CLIP's mean colour, as what is
                not in the image always has.
        """
        clip = self.clip_model
        mean, std = (
            torch.tensor(values, device=masks.device).view(-1, 1, 1) * 255
            for values in (clip.pixel_mean, clip.pixel_std)
        )
        height, width = masks.shape[1:]
        farthest = torch.cat([-boxes[:, :2], boxes[:, 2:] - boxes.new_tensor([width, height])])
        beside = max(int(farthest.max()), 0)
        pixels = image.to(masks.device) - mean
        below, right = height - image.shape[1] + beside, width - image.shape[2] + beside
        pixels = F.pad(pixels, (beside, right, beside, below))  # zeros: the mean colour
        masks, boxes = F.pad(masks, (beside,) * 4), boxes + beside
        shown = masks | ~is_masked[:, None, None]
        pictures = masked_crops(pixels, shown, boxes, clip.image_size) / std
        cover = masked_crops(torch.ones_like(pixels[:1]), masks, boxes, clip.image_size)[:, 0]
        return F.normalize(clip.encode_inside(pictures, cover >= 0.5), dim=-1)


def square_boxes(masks: Tensor, context: Tensor) -> Tensor:
    """Squares around masks, [N, 4] in whole pixels, xyxy; they may leave the image.

    Args:
        masks: Bool [N, H, W].
        context: [N], their side by the longer one of the mask's box.
    """
    boxes = mask_boxes(masks)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    longer = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    sides = (longer * context).round().clamp(min=1)[:, None]  # [N, 1]
    low = (centres - sides / 2).floor()
    return torch.cat([low, low + sides], dim=1)
