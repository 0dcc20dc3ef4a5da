"""The built-in augmentations. All of them draw from numpy's global generator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fvcore.transforms.transform import (
    BlendTransform,
    HFlipTransform,
    NoOpTransform,
    Transform,
    VFlipTransform,
)
from PIL import Image

from ._crop_augmentations import (
    FixedSizeCrop,
    MinIoURandomCrop,
    RandomCrop,
    RandomCrop_CategoryAreaConstraint,
)
from .augmentation import Augmentation, _transform_to_aug
from .transform import ExtentTransform, ResizeTransform, RotationTransform

__all__ = [
    "FixedSizeCrop",
    "MinIoURandomCrop",
    "RandomApply",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomCrop_CategoryAreaConstraint",
    "RandomExtent",
    "RandomFlip",
    "RandomLighting",
    "RandomResize",
    "RandomRotation",
    "RandomSaturation",
    "Resize",
    "ResizeScale",
    "ResizeShortestEdge",
]

_LUMA = (0.299, 0.587, 0.114)  # of R, G and B, BT.601

# Principal components of ImageNet's colours and their variances (Krizhevsky et al. 2012).
_IMAGENET_EIGEN_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)
_IMAGENET_EIGEN_VALUES = np.array([0.2175, 0.0188, 0.0045])


class RandomApply(Augmentation):
    """Applies a transform or an augmentation with some probability."""

    def __init__(self, tfm_or_aug: Transform | Augmentation, prob: float = 0.5) -> None:
        """Remember what to apply, and how often."""
        super().__init__()
        self.aug = _transform_to_aug(tfm_or_aug)
        assert 0.0 <= prob <= 1.0, f"prob should be between 0 and 1, got {prob}"
        self.prob = prob

    def get_transform(self, *args: Any) -> Transform:
        return self.aug.get_transform(*args) if self._wants_to() else NoOpTransform()

    def __call__(self, aug_input: Any) -> Transform:
        return self.aug(aug_input) if self._wants_to() else NoOpTransform()

    def _wants_to(self) -> bool:
        return self._rand_range() < self.prob


class RandomFlip(Augmentation):
    """Mirrors the image in one direction with some probability."""

    def __init__(
        self, prob: float = 0.5, *, horizontal: bool = True, vertical: bool = False
    ) -> None:
        """Check and remember the direction, of which there can be one."""
        super().__init__()
        if bool(horizontal) == bool(vertical):
            raise ValueError(
                "exactly one of horizontal and vertical should be true, got "
                f"{horizontal} and {vertical}; use two RandomFlip for both"
            )
        self.prob, self.horizontal, self.vertical = prob, horizontal, vertical

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        if self._rand_range() >= self.prob:
            return NoOpTransform()
        return HFlipTransform(width) if self.horizontal else VFlipTransform(height)


class Resize(Augmentation):
    """Resizes to a fixed size, whatever the aspect ratio."""

    def __init__(self, shape: int | tuple[int, int], interp: int = Image.BILINEAR) -> None:
        """Remember (height, width), or one number for both, and PIL's interpolation."""
        super().__init__()
        self.shape = (shape, shape) if isinstance(shape, int) else tuple(shape)
        self.interp = interp

    def get_transform(self, image: np.ndarray) -> Transform:
        return ResizeTransform(*image.shape[:2], *self.shape, self.interp)


class RandomResize(Augmentation):
    """Resizes to a size drawn from a list."""

    def __init__(self, shape_list: Sequence[tuple[int, int]], interp: int = Image.BILINEAR) -> None:
        """Remember the sizes (height, width), and PIL's interpolation."""
        super().__init__()
        self.shape_list, self.interp = shape_list, interp

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = self.shape_list[np.random.randint(len(self.shape_list))]
        return ResizeTransform(*image.shape[:2], height, width, self.interp)


class ResizeShortestEdge(Augmentation):
    """Scales the shorter side to a random length, unless the longer one then gets too long."""

    # TorchScript compiles the signatures of all methods of a class of which it needs one, and
    # cannot do so for these types; hence no annotations here.
    @torch.jit.unused
    def __init__(
        self, short_edge_length, max_size=sys.maxsize, sample_style="range", interp=Image.BILINEAR
    ):
        """Check and remember the lengths.

        Args:
            short_edge_length: the interval [min, max] for the style "range", a list to choose
                from for "choice"; zero in that list means not to resize.
            max_size: longest longer side.
            sample_style: "range" or "choice".
            interp: PIL's interpolation.
        """
        super().__init__()
        assert sample_style in ("range", "choice"), f"unknown sample_style {sample_style!r}"
        if isinstance(short_edge_length, int):
            short_edge_length = (short_edge_length, short_edge_length)
        self.is_range = sample_style == "range"
        assert not self.is_range or len(short_edge_length) == 2, (
            f"short_edge_length should be [min, max] for 'range', got {short_edge_length}"
        )
        self.short_edge_length, self.max_size = short_edge_length, max_size
        self.sample_style, self.interp = sample_style, interp

    @torch.jit.unused
    def get_transform(self, image):
        height, width = image.shape[:2]
        if self.is_range:
            shortest, longest = self.short_edge_length
            size = np.random.randint(shortest, longest + 1)
        else:
            size = np.random.choice(self.short_edge_length)
        if size == 0:
            return NoOpTransform()
        new_height, new_width = self.get_output_shape(height, width, size, self.max_size)
        return ResizeTransform(height, width, new_height, new_width, self.interp)

    @staticmethod
    def get_output_shape(
        oldh: int, oldw: int, short_edge_length: int, max_size: int
    ) -> tuple[int, int]:
        """Return the (height, width) to resize to. TorchScript can compile this."""
        length = float(short_edge_length)
        scale = length / min(oldh, oldw)
        # The shorter side is set rather than multiplied, as rounding could make it differ.
        height = length if oldh < oldw else scale * oldh
        width = scale * oldw if oldh < oldw else length
        longer = max(height, width)
        if longer > max_size:
            shrink = float(max_size) / longer
            height, width = height * shrink, width * shrink
        return int(height + 0.5), int(width + 0.5)


class ResizeScale(Augmentation):
    """Fits the image, keeping its aspect ratio, into a target size times a random scale.

    This is the first half of large-scale jittering; ``FixedSizeCrop`` is the second.
    """

    def __init__(
        self,
        min_scale: float,
        max_scale: float,
        target_height: int,
        target_width: int,
        interp: int = Image.BILINEAR,
    ) -> None:
        """Remember the range of the scale, the target size and PIL's interpolation."""
        super().__init__()
        self.min_scale, self.max_scale = min_scale, max_scale
        self.target_height, self.target_width = target_height, target_width
        self.interp = interp

    def _get_resize(self, image: np.ndarray, scale: float) -> Transform:
        size = np.array(image.shape[:2])
        box = np.multiply((self.target_height, self.target_width), scale)
        height, width = np.round(size * (box / size).min()).astype(int).tolist()
        return ResizeTransform(*image.shape[:2], height, width, self.interp)

    def get_transform(self, image: np.ndarray) -> Transform:
        return self._get_resize(image, np.random.uniform(self.min_scale, self.max_scale))


class RandomRotation(Augmentation):
    """Rotates counter-clockwise by a random angle, about a random point if wanted."""

    def __init__(
        self,
        angle: float | Sequence[float],
        expand: bool = True,
        center: Any = None,
        sample_style: str = "range",
        interp: int | None = None,
    ) -> None:
        """Check and remember angles and points.

        Args:
            angle: in degrees; the interval [min, max] for the style "range", a list to choose
                from for "choice".
            expand: enlarge the output, so that it holds the whole rotated image.
            center: in the same style, points (x, y) with (1, 1) for the bottom right; the
                middle when not given. It makes no difference with ``expand``.
            sample_style: "range" or "choice".
            interp: OpenCV's interpolation.
        """
        super().__init__()
        assert sample_style in ("range", "choice"), f"unknown sample_style {sample_style!r}"
        if isinstance(angle, (float, int)):
            angle = (angle, angle)
        if center is not None and isinstance(center[0], (float, int)):
            center = (center, center)
        self.is_range = sample_style == "range"
        self.angle, self.expand, self.center = angle, expand, center
        self.sample_style, self.interp = sample_style, interp

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        angle = self._draw_angle()
        center = None
        if self.center is not None:
            x, y = self._draw_center()
            center = (width * x, height * y)
        if angle % 360 == 0:
            return NoOpTransform()
        return RotationTransform(
            height, width, angle, expand=self.expand, center=center, interp=self.interp
        )

    def _draw_angle(self) -> float:
        if self.is_range:
            return np.random.uniform(self.angle[0], self.angle[1])
        return np.random.choice(self.angle)

    def _draw_center(self) -> Sequence[float]:
        if self.is_range:
            (min_x, min_y), (max_x, max_y) = self.center
            return np.random.uniform(min_x, max_x), np.random.uniform(min_y, max_y)
        return self.center[np.random.randint(len(self.center))]


class RandomExtent(Augmentation):
    """Takes a random rectangle about the middle, which may reach beyond the image (black)."""

    def __init__(self, scale_range: tuple[float, float], shift_range: tuple[float, float]) -> None:
        """Remember size and place of the rectangle.

        Args:
            scale_range: (min, max) of its size relative to the image's.
            shift_range: (x, y) width of the interval, relative to the image's size, in which
                its centre moves.
        """
        super().__init__()
        self.scale_range, self.shift_range = scale_range, shift_range

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        half = np.array([width, height]) / 2
        corners = np.array([-half, half]) * np.random.uniform(*self.scale_range)
        corners[:, 0] += self.shift_range[0] * width * (np.random.rand() - 0.5)
        corners[:, 1] += self.shift_range[1] * height * (np.random.rand() - 0.5)
        (x0, y0), (x1, y1) = (corners + half).tolist()
        return ExtentTransform(src_rect=(x0, y0, x1, y1), output_size=(int(y1 - y0), int(x1 - x0)))


class _RandomBlend(Augmentation):
    """Blends the image with something plain; a weight above 1 moves away from that."""

    def __init__(self, intensity_min: float, intensity_max: float) -> None:
        """Remember the range of the image's weight; 1 leaves the image as it is."""
        super().__init__()
        self.intensity_min, self.intensity_max = intensity_min, intensity_max

    def _blend_with(self, plain: Any) -> Transform:
        weight = np.random.uniform(self.intensity_min, self.intensity_max)
        return BlendTransform(src_image=plain, src_weight=1 - weight, dst_weight=weight)


class RandomContrast(_RandomBlend):
    """Changes contrast, by blending with the mean of the image."""

    def get_transform(self, image: np.ndarray) -> Transform:
        return self._blend_with(image.mean())


class RandomBrightness(_RandomBlend):
    """Changes brightness, by blending with black."""

    def get_transform(self, image: np.ndarray) -> Transform:
        return self._blend_with(0)


class RandomSaturation(_RandomBlend):
    """Changes saturation of an RGB image, by blending with its grey version."""

    def get_transform(self, image: np.ndarray) -> Transform:
        assert image.shape[-1] == 3, "RandomSaturation only works on RGB images"
        return self._blend_with(image.dot(_LUMA)[:, :, np.newaxis])


class RandomLighting(Augmentation):
    """Shifts the colours of an RGB image along ImageNet's principal components, as AlexNet did."""

    def __init__(self, scale: float) -> None:
        """Remember the standard deviation of the components' weights."""
        super().__init__()
        self.scale = scale
        self.eigen_vecs, self.eigen_vals = _IMAGENET_EIGEN_VECTORS, _IMAGENET_EIGEN_VALUES

    def get_transform(self, image: np.ndarray) -> Transform:
        assert image.shape[-1] == 3, "RandomLighting only works on RGB images"
        weights = np.random.normal(scale=self.scale, size=3)
        shift = self.eigen_vecs.dot(weights * self.eigen_vals)
        return BlendTransform(src_image=shift, src_weight=1.0, dst_weight=1.0)
