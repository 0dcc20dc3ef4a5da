"""Photometric distortion of the single shot detector (Liu et al., 2016)."""

from __future__ import annotations

import random

import cv2
import numpy as np
from fvcore.transforms.transform import Transform

__all__ = ["ColorAugSSDTransform"]


class ColorAugSSDTransform(Transform):
    """Changes brightness, contrast, saturation and hue, each with probability one half.

    Every call of ``apply_image`` draws anew from Python's ``random``. Contrast comes either before
    or after the two colour changes.
    """

    def __init__(
        self,
        img_format,
        brightness_delta=32,
        contrast_low=0.5,
        contrast_high=1.5,
        saturation_low=0.5,
        saturation_high=1.5,
        hue_delta=18,
    ):
        """Set the ranges.

        Args:
            img_format: "BGR" or "RGB".
            brightness_delta: largest value added to or taken from all channels.
            contrast_low: smallest factor on all channels.
            contrast_high: largest factor on all channels.
            saturation_low: smallest factor on the saturation.
            saturation_high: largest factor on the saturation.
            hue_delta: largest turn of the hue, in units of two degrees.
        """
        super().__init__()
        assert img_format in ("BGR", "RGB"), img_format
        self.is_rgb = img_format == "RGB"
        self.brightness_delta = brightness_delta
        self.contrast_low = contrast_low
        self.contrast_high = contrast_high
        self.saturation_low = saturation_low
        self.saturation_high = saturation_high
        self.hue_delta = hue_delta

    def apply_coords(self, coords):
        return coords

    def apply_segmentation(self, segmentation):
        return segmentation

    def apply_image(self, img, interp=None):
        """Distort a uint8 image [H, W, 3]."""
        if self.is_rgb:
            img = img[:, :, ::-1]
        img = self.brightness(np.ascontiguousarray(img))
        steps = [self.saturation, self.hue]
        if random.randrange(2):
            steps.insert(0, self.contrast)
        else:
            steps.append(self.contrast)
        for step in steps:
            img = step(img)
        return img[:, :, [2, 1, 0]] if self.is_rgb else img

    def convert(self, img, alpha=1, beta=0):
        """Return ``alpha * img + beta`` clipped to uint8."""
        return np.clip(img.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)

    def brightness(self, img):
        if not random.randrange(2):
            return img
        delta = random.uniform(-self.brightness_delta, self.brightness_delta)
        return self.convert(img, beta=delta)

    def contrast(self, img):
        if not random.randrange(2):
            return img
        return self.convert(img, alpha=random.uniform(self.contrast_low, self.contrast_high))

    def saturation(self, img):
        if not random.randrange(2):
            return img
        hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
        factor = random.uniform(self.saturation_low, self.saturation_high)
        hsv[:, :, 1] = self.convert(hsv[:, :, 1], alpha=factor)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)

    def hue(self, img):
        if not random.randrange(2):
            return img
        hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
        turn = random.randint(-self.hue_delta, self.hue_delta)
        hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + turn) % 180  # OpenCV's hue ends at 180
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
