"""Transforms that fvcore lacks: resizing, rotation, extent and colour.

Coordinates are those of pixel corners: an image of width W reaches from 0 to W, and pixel i
has its centre at i + 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fvcore.transforms.transform import (
    CropTransform,
    NoOpTransform,
    Transform,
    TransformList,
)
from PIL import Image

__all__ = [
    "ColorTransform",
    "ExtentTransform",
    "PILColorTransform",
    "ResizeTransform",
    "RotationTransform",
]

_TORCH_MODES = {  # PIL's interpolation -> arguments of torch's interpolate
    Image.NEAREST: {"mode": "nearest"},
    Image.BILINEAR: {"mode": "bilinear", "align_corners": False},
    Image.BICUBIC: {"mode": "bicubic", "align_corners": False},
}


def _through_pil(image: np.ndarray, operation: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Apply a PIL operation to an array; PIL knows no channel axis of length one."""
    if image.ndim == 3 and image.shape[2] == 1:
        return np.asarray(operation(Image.fromarray(image[:, :, 0])))[:, :, None]
    return np.asarray(operation(Image.fromarray(image)))


class ExtentTransform(Transform):
    """Scales a rectangle of the image, which may reach beyond its border, to the output size."""

    def __init__(
        self,
        src_rect: tuple[float, float, float, float],
        output_size: tuple[int, int],
        interp: int = Image.BILINEAR,
        fill: Any = 0,
    ) -> None:
        """Remember the geometry.

        Args:
            src_rect: (x0, y0, x1, y1) in the input image.
            output_size: (height, width) of the output image.
            interp: PIL's interpolation.
            fill: colour of what lies outside of the input image.
        """
        super().__init__()
        self.src_rect, self.output_size = src_rect, output_size
        self.interp, self.fill = interp, fill

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        height, width = self.output_size

        def extent(image: Image.Image) -> Image.Image:
            return image.transform(
                (width, height),
                Image.EXTENT,
                self.src_rect,
                # Parity: NEAREST is 0, so labels are resampled like the image, as upstream.
                resample=interp or self.interp,
                fill=self.fill,
            )

        return _through_pil(img, extent)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        x0, y0, x1, y1 = self.src_rect
        height, width = self.output_size
        scale = np.array([width / (x1 - x0), height / (y1 - y0)])
        source_center = np.array([x0 + x1, y0 + y1]) / 2
        output_center = np.array([width, height]) / 2
        moved = coords.astype(np.float32) - source_center
        return (moved * scale + output_center).astype(np.float32)

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self.apply_image(segmentation, interp=Image.NEAREST)


class ResizeTransform(Transform):
    """Resizes the image: bytes through PIL, which smooths when shrinking, others through torch."""

    def __init__(self, h: int, w: int, new_h: int, new_w: int, interp: int | None = None) -> None:
        """Remember the geometry.

        Args:
            h: height of the input image.
            w: width of the input image.
            new_h: height of the output image.
            new_w: width of the output image.
            interp: PIL's interpolation, bilinear when not given.
        """
        super().__init__()
        self.h, self.w, self.new_h, self.new_w = h, w, new_h, new_w
        self.interp = Image.BILINEAR if interp is None else interp

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        assert img.shape[:2] == (self.h, self.w), f"{img.shape[:2]} is not {self.h, self.w}"
        assert img.ndim <= 4, f"an image has at most 4 axes, got {img.ndim}"
        interp = self.interp if interp is None else interp
        if img.dtype == np.uint8:
            return _through_pil(img, lambda image: image.resize((self.new_w, self.new_h), interp))
        pixels = torch.from_numpy(np.ascontiguousarray(img))
        planes = pixels.reshape(1, self.h, self.w, -1).permute(0, 3, 1, 2)  # [1, C, h, w]
        planes = F.interpolate(planes, (self.new_h, self.new_w), **_TORCH_MODES[interp])
        resized = planes.permute(0, 2, 3, 1)  # [1, new_h, new_w, C]
        return resized.reshape(self.new_h, self.new_w, *img.shape[2:]).numpy()

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        for axis, factor in enumerate((self.new_w / self.w, self.new_h / self.h)):
            coords[:, axis] = coords[:, axis] * factor
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self.apply_image(segmentation, interp=Image.NEAREST)

    def inverse(self) -> Transform:
        return type(self)(self.new_h, self.new_w, self.h, self.w, self.interp)


class RotationTransform(Transform):
    """Rotates the image counter-clockwise."""

    def __init__(
        self,
        h: int,
        w: int,
        angle: float,
        expand: bool = True,
        center: tuple[float, float] | None = None,
        interp: int | None = None,
    ) -> None:
        """Work out size and matrices.

        Args:
            h: height of the input image.
            w: width of the input image.
            angle: in degrees.
            expand: enlarge the output, so that it holds the whole rotated image.
            center: (x, y) of the fixed point, the middle when not given; of no effect with
                ``expand``, which puts the rotated image in the middle of the output.
            interp: OpenCV's interpolation, linear when not given.
        """
        super().__init__()
        self.h, self.w, self.angle, self.expand = h, w, angle, expand
        self.image_center = np.array((w / 2, h / 2))
        self.center = self.image_center if center is None else center
        self.interp = cv2.INTER_LINEAR if interp is None else interp
        self.bound_w, self.bound_h = w, h
        if expand:
            cosine, sine = np.abs(np.cos(np.deg2rad(angle))), np.abs(np.sin(np.deg2rad(angle)))
            self.bound_w = int(np.rint(h * sine + w * cosine))
            self.bound_h = int(np.rint(h * cosine + w * sine))
        self.rm_coords = self.create_rotation_matrix()
        # OpenCV counts from pixel centres, not corners (opencv/opencv#11784).
        self.rm_image = self.create_rotation_matrix(offset=-0.5)

    def create_rotation_matrix(self, offset: float = 0) -> np.ndarray:
        """Return the 2x3 matrix for points given relative to ``offset``."""
        x, y = self.center
        matrix = cv2.getRotationMatrix2D((x + offset, y + offset), self.angle, 1)
        if self.expand:
            arrives_at = matrix @ np.append(self.image_center + offset, 1)
            wanted = np.array((self.bound_w / 2, self.bound_h / 2)) + offset
            matrix[:, 2] += wanted - arrives_at
        return matrix

    def _is_identity(self) -> bool:
        return self.angle % 360 == 0

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        if len(img) == 0 or self._is_identity():
            return img
        assert img.shape[:2] == (self.h, self.w), f"{img.shape[:2]} is not {self.h, self.w}"
        interp = self.interp if interp is None else interp
        return cv2.warpAffine(img, self.rm_image, (self.bound_w, self.bound_h), flags=interp)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        coords = np.asarray(coords, dtype=float)
        if len(coords) == 0 or self._is_identity():
            return coords
        return coords @ self.rm_coords[:, :2].T + self.rm_coords[:, 2]

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return self.apply_image(segmentation, interp=cv2.INTER_NEAREST)

    def inverse(self) -> Transform:
        """Rotate back, and cut away the corners which that adds."""
        if not self.expand:
            raise NotImplementedError("a rotation that cuts off corners cannot be inverted")
        back = RotationTransform(self.bound_h, self.bound_w, -self.angle, interp=self.interp)
        left, top = (back.bound_w - self.w) // 2, (back.bound_h - self.h) // 2
        return TransformList([back, CropTransform(left, top, self.w, self.h)])


class ColorTransform(Transform):
    """Applies a function of the colours, which leaves the geometry alone."""

    def __init__(self, op: Callable[[np.ndarray], np.ndarray]) -> None:
        """Remember the function, from array to array."""
        if not callable(op):
            raise ValueError(f"op should be callable, got {type(op)}")
        super().__init__()
        self.op = op

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return self.op(img)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation

    def inverse(self) -> Transform:
        return NoOpTransform()


class PILColorTransform(ColorTransform):
    """A ``ColorTransform`` whose function goes from PIL image to PIL image."""

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        return np.asarray(self.op(Image.fromarray(img)))
