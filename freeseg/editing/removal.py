"""Taking things out of photos: their place is filled from around it, offline and at once.

Shapes: N masks, H W photo size.
"""

from __future__ import annotations

import cv2
import numpy as np

from freeseg.editing.masks import DEFAULT_GROW, Mask, grown, read_masks, window_around
from freeseg.images import ImageSource, RgbImage, read_image

RADIUS = 3  # pixels around each one that it is made of, as in OpenCV's tutorial on inpainting
_REACH = 2 * RADIUS + 2  # pixels outside of a mask that its filling depends on, and to spare


def remove(photo: ImageSource, masks: Mask, *, grow: int = DEFAULT_GROW) -> RgbImage:
    """A photo [H, W, 3] in which what masks show is filled from around it.

    OpenCV's inpainting after Bertalmio et al. ("Navier-Stokes, fluid dynamics, and image and video
    inpainting", CVPR 2001): it goes on with what is at the edge of a hole, and makes up no texture.
    A flat ground comes out flat, which OpenCV's other method, after Telea, misses by some levels;
    on photos they are equally good. Pixels outside of the grown masks are the photo's.

    Args:
        photo: What `freeseg.images.read_image` reads.
        masks: Bool [H, W] or [N, H, W].
        grow: Pixels by which masks grow.

    Raises:
        ImageError: The photo cannot be used.
        ValueError: The masks do not fit, or leave nothing of the photo to fill them from.
    """
    image = read_image(photo)
    mask = grown(np.any(read_masks(masks, image.shape[:2]), axis=0), grow)
    if not mask.any():
        return image
    if mask.all():
        raise ValueError(
            "nothing is left of the photo to fill the masks from: they cover all of it"
        )
    window = window_around(mask, _REACH)
    hole, part = mask[window], image[window]  # a view
    filled = cv2.inpaint(part.copy(), hole.astype(np.uint8), RADIUS, cv2.INPAINT_NS)
    part[hole] = filled[hole]
    return image
