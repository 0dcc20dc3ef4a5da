"""Painting something else where masks are, with an inpainting pipeline of diffusers.

Shapes: N masks, H W photo size, h w size at which a painter sees a window of the photo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from freeseg.editing.masks import DEFAULT_GROW, Mask, Window, grown, read_masks, window_around
from freeseg.images import ImageSource, RgbImage, read_image

Painter = Callable[..., Any]  # an inpainting pipeline of diffusers

# A painter sees a window that is twice as long as what it paints, so that it can fit it in, and
# no closer than this many pixels around it: less is mostly the blur of the enlargement.
CONTEXT = 0.5  # of the longer side, on each side
MIN_CONTEXT = 32  # pixels
USUAL_SIDE = 1024  # of pipelines that do not say what they were trained with


class PaintingError(RuntimeError):
    """A painter gives no picture."""


def replace(
    photo: ImageSource,
    masks: Mask,
    prompt: str,
    painter: Painter,
    *,
    grow: int = DEFAULT_GROW,
    seed: int = 0,
    steps: int | None = None,
) -> RgbImage:
    """A photo [H, W, 3] in which something else is painted where masks are.

    Each mask is painted alone, in a window of the photo around it that is resized to what the
    painter was trained with, and on what was painted before. Pixels outside of the grown masks are
    the photo's.

    Args:
        photo: What `freeseg.images.read_image` reads.
        masks: Bool [H, W], or [N, H, W] for a painting of its own in each; empty ones are left out.
        prompt: What is to be seen.
        painter: Of `load_painter`, or any inpainting pipeline of diffusers.
        grow: Pixels by which masks grow.
        seed: Of the first mask; the next ones have the next numbers. Equal seeds give equal photos.
        steps: Of the painter's schedule; its own number when None.

    Raises:
        ImageError: The photo cannot be used.
        ValueError: The masks do not fit, or the prompt is empty.
        PaintingError: The painter's safety checker has withheld a picture.
    """
    if not prompt.strip():
        raise ValueError("wanted words for what is to be painted, got an empty prompt")
    image = read_image(photo)
    options: dict[str, Any] = {"prompt": prompt}
    if steps is not None:
        options["num_inference_steps"] = steps
    for number, mask in enumerate(read_masks(masks, image.shape[:2])):
        if not mask.any():
            continue
        generator = torch.Generator().manual_seed(seed + number)
        _paint(image, grown(mask, grow), painter, generator=generator, **options)
    return image


def _paint(image: RgbImage, mask: Mask, painter: Painter, **options: Any) -> None:
    """Paints into a photo where a mask [H, W] is."""
    window = context_window(mask)
    hole, part = mask[window], image[window]  # a view
    height, width = painter_size(painter, *hole.shape)
    answer = painter(
        image=Image.fromarray(part).resize((width, height), Image.Resampling.LANCZOS),
        mask_image=Image.fromarray(_resized(hole, height, width)),
        height=height,
        width=width,
        **options,
    )
    if any(getattr(answer, "nsfw_content_detected", None) or ()):
        raise PaintingError(
            "the painter's safety checker has withheld its picture: try another seed or other words"
        )
    painted = answer.images[0].convert("RGB").resize(hole.shape[::-1], Image.Resampling.LANCZOS)
    part[hole] = np.asarray(painted)[hole]


def context_window(mask: Mask) -> Window:
    """The square around a mask [H, W] that a painter sees, less what lies outside of the photo."""
    rows, columns = window_around(mask, 0)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    longer = max(height, width)
    side = longer + 2 * max(round(CONTEXT * longer), MIN_CONTEXT)
    return window_around(mask, (side - height) // 2, (side - width) // 2)


def painter_size(painter: Painter, height: int, width: int) -> tuple[int, int]:
    """The size (h, w) at which a painter sees a window: its longer side as the painter has learned.

    Stable Diffusion has learned pictures of 512 pixels, its XL of 1024: the `sample_size` of its
    network times the `vae_scale_factor` of its autoencoder, by a multiple of which sides have to
    be, of Flux by twice it; so does its `image_processor` say.
    """
    factor = getattr(painter, "vae_scale_factor", 8)
    processor = getattr(painter, "image_processor", None)
    multiple = factor if processor is None else processor.config.vae_scale_factor
    side = _trained_side(painter, factor)
    scale = side / max(height, width)
    rows, columns = (max(round(each * scale / multiple), 1) * multiple for each in (height, width))
    return rows, columns


def _trained_side(painter: Painter, factor: int) -> int:
    samples = getattr(painter, "default_sample_size", None)  # of those without a UNet
    if samples is None:
        network = getattr(painter, "unet", None)
        samples = None if network is None else network.config.sample_size
    return samples * factor if isinstance(samples, int) else USUAL_SIDE


def _resized(mask: Mask, height: int, width: int) -> RgbImage:
    """A mask as uint8 [h, w], 255 wherever any of it lies."""
    shares = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return (shares > 0).astype(np.uint8) * np.uint8(255)
