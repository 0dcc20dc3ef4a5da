"""Image augmentation: Detectron2's geometry in the published orders, random parts, colour changes.

Shapes: H W image size.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from fvcore.transforms.transform import Transform
from PIL import Image as Pillow
from PIL import ImageEnhance

from detectron2.data import transforms as T

Image = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, width, height

CROP_ASPECT = (3 / 4, 4 / 3)  # of random parts, width to height
CROP_TRIES = 10


@dataclass(frozen=True)
class LargeScaleJitter:
    """Random scale, then a fixed square crop, padded where the image is smaller."""

    image_size: int
    min_scale: float = 0.1
    max_scale: float = 2.0
    base_size: int = 0  # what is scaled, the image's long side; 0: `image_size`

    def build(self) -> list[T.Augmentation]:
        """The augmentations in order."""
        side, base = self.image_size, self.base_size or self.image_size
        return [
            T.ResizeScale(self.min_scale, self.max_scale, target_height=base, target_width=base),
            T.FixedSizeCrop(crop_size=(side, side)),
        ]


@dataclass(frozen=True)
class ShortSideCrop:
    """Short side drawn from a choice or range, then a crop if `crop_type` is not empty."""

    min_size: Sequence[int]
    max_size: int
    sampling: str = "choice"
    crop_type: str = ""
    crop_size: Sequence[float] = ()
    max_category_area: float = 1.0  # retry crops in which one class fills more than this share
    ignore_label: int = 255

    def build(self) -> list[T.Augmentation]:
        """The augmentations in order."""
        steps = [T.ResizeShortestEdge(tuple(self.min_size), self.max_size, self.sampling)]
        if self.crop_type:
            crop: Any = (
                T.RandomCrop_CategoryAreaConstraint(
                    self.crop_type, self.crop_size, self.max_category_area, self.ignore_label
                )
                if self.max_category_area < 1.0
                else T.RandomCrop(self.crop_type, self.crop_size)
            )
            steps.append(crop)
        return steps


def build_flip(kind: str) -> list[T.Augmentation]:
    """Random flip by Detectron2's INPUT.RANDOM_FLIP: "none", "horizontal" or "vertical"."""
    if kind == "none":
        return []
    if kind not in ("horizontal", "vertical"):
        raise ValueError(f'RANDOM_FLIP must be "none", "horizontal" or "vertical", got {kind!r}')
    return [T.RandomFlip(horizontal=kind == "horizontal", vertical=kind == "vertical")]


def random_part(
    box: Box, share: tuple[float, float], aspect: tuple[float, float] = CROP_ASPECT
) -> Box:
    """A part of a box of random area and aspect ratio; the box itself if none is found."""
    left, top, width, height = box
    for _ in range(CROP_TRIES):
        area = width * height * np.random.uniform(*share)
        ratio = math.exp(np.random.uniform(math.log(aspect[0]), math.log(aspect[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = np.random.randint(0, width - w + 1), np.random.randint(0, height - h + 1)
            return left + int(x), top + int(y), w, h
    return box


class RandomResizedCrop(T.Augmentation):
    """A random part of the image as a square; its own aspect ratio is lost.

    Photos are resized bicubically, annotation takes the nearest pixel.
    """

    def __init__(
        self,
        side: int,
        scale: tuple[float, float] = (0.3, 1.0),
        aspect: tuple[float, float] = CROP_ASPECT,
    ) -> None:
        """Defines the part.

        Args:
            side: Of the square.
            scale: Least and largest share of the image.
            aspect: Least and largest ratio of width to height, drawn by its logarithm.
        """
        super().__init__()
        self._init(locals())
        if side < 1:
            raise ValueError(f"the side of a view must be 1 or more, got {side}")
        for name, (low, high) in (("scale", scale), ("aspect", aspect)):
            if not 0 < low <= high or (name == "scale" and high > 1):
                raise ValueError(f"the {name} of a view is no range: {(low, high)}")

    def get_transform(self, image: Image) -> Transform:
        height, width = image.shape[:2]
        left, top, w, h = random_part((0, 0, width, height), self.scale, self.aspect)
        resize = T.ResizeTransform(h, w, self.side, self.side, Pillow.Resampling.BICUBIC)
        return T.TransformList([T.CropTransform(left, top, w, h), resize])


class RandomColorJitter(T.Augmentation):
    """Brightness, contrast, saturation and hue of an RGB image, in random order.

    As torchvision's ColorJitter: factors are from 1 - range to 1 + range, hue moves by up to its
    range of the circle.
    """

    def __init__(self, ranges: Sequence[float], probability: float) -> None:
        """Defines it.

        Args:
            ranges: Of brightness, contrast, saturation and hue.
            probability: That an image is changed at all.
        """
        super().__init__()
        if len(ranges) != 4 or min(ranges) < 0 or max(ranges[:3]) > 1 or ranges[3] > 0.5:
            raise ValueError(
                "colour jitter is brightness, contrast and saturation from 0 to 1 and hue from 0 "
                f"to 0.5, got {tuple(ranges)}"
            )
        self._init(locals())

    def get_transform(self, image: Image) -> Transform:
        values = [1 + random.uniform(-each, each) for each in self.ranges[:3]]
        values.append(random.uniform(-self.ranges[3], self.ranges[3]))
        order = random.sample(range(4), 4)
        if random.random() >= self.probability:
            return T.NoOpTransform()
        return ColorJitterTransform([(number, values[number]) for number in order])


class ColorJitterTransform(Transform):
    """Fixed changes in their order, each as its number and by how much.

    0 is brightness, 1 contrast, 2 saturation, factors; 3 is hue, a share of the circle.
    """

    def __init__(self, changes: Sequence[tuple[int, float]]) -> None:
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: Image, interp: Any = None) -> Image:
        picture = Pillow.fromarray(img)
        for number, value in self.changes:
            if number == _HUE:
                picture = _turn_hue(picture, value)
            else:
                picture = _ENHANCERS[number](picture).enhance(value)
        return np.array(picture)

    def apply_coords(self, coords: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return coords

    def apply_segmentation(self, segmentation: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return segmentation

    def inverse(self) -> Transform:
        return T.NoOpTransform()


_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
_HUE = 3


def _turn_hue(picture: Pillow.Image, turn: float) -> Pillow.Image:
    """Moves hues by a share of the circle, which Pillow counts in 256 steps."""
    hue, *others = picture.convert("HSV").split()
    moved = hue.point([(value + round(turn * 256)) % 256 for value in range(256)])
    return Pillow.merge("HSV", (moved, *others)).convert("RGB")


class RandomColorSSD(T.Augmentation):
    """Colour changes of SSD (Liu et al., ECCV 2016): brightness, contrast, saturation, hue.

    Each is applied with probability 1/2; contrast comes before or after the two HSV changes. All
    numbers are drawn when the transform is made, so a transform can be replayed.
    """

    def __init__(
        self,
        image_format: str,
        brightness: float = 32.0,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: int = 18,
    ) -> None:
        super().__init__()
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f"image_format must be RGB or BGR, got {image_format!r}")
        self._init(locals())

    def get_transform(self, image: Image) -> Transform:
        return ColorSSDTransform(
            is_rgb=self.image_format == "RGB",
            brightness=_maybe(random.uniform(-self.brightness, self.brightness), 0.0),
            contrast=_maybe(random.uniform(*self.contrast), 1.0),
            saturation=_maybe(random.uniform(*self.saturation), 1.0),
            hue=_maybe(random.randint(-self.hue, self.hue), 0),
            contrast_first=random.random() < 0.5,
        )


class ColorSSDTransform(Transform):
    """One fixed set of SSD colour changes; geometry and labels stay."""

    def __init__(
        self,
        is_rgb: bool,
        brightness: float = 0.0,
        contrast: float = 1.0,
        saturation: float = 1.0,
        hue: int = 0,
        contrast_first: bool = True,
    ) -> None:
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: Image, interp: Any = None) -> Image:
        image = _affine(img, 1.0, self.brightness)
        if self.contrast_first:
            image = self._change_hsv(_affine(image, self.contrast, 0.0))
        else:
            image = _affine(self._change_hsv(image), self.contrast, 0.0)
        return image

    def apply_coords(self, coords: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return coords

    def apply_segmentation(self, segmentation: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return segmentation

    def inverse(self) -> Transform:
        return T.NoOpTransform()

    def _change_hsv(self, image: Image) -> Image:
        if self.saturation == 1.0 and self.hue == 0:
            return image
        to_hsv, from_hsv = (
            (cv2.COLOR_RGB2HSV, cv2.COLOR_HSV2RGB)
            if self.is_rgb
            else (cv2.COLOR_BGR2HSV, cv2.COLOR_HSV2BGR)
        )
        hsv = cv2.cvtColor(np.ascontiguousarray(image), to_hsv)
        hsv[..., 1] = _affine(hsv[..., 1], self.saturation, 0.0)
        hsv[..., 0] = (hsv[..., 0].astype(np.int32) + self.hue) % 180  # OpenCV counts half degrees
        return cv2.cvtColor(hsv, from_hsv)


def _affine(image: Image, scale: float, offset: float) -> Image:
    if scale == 1.0 and offset == 0.0:
        return image
    return np.clip(image.astype(np.float32) * scale + offset, 0, 255).astype(np.uint8)


def _maybe(value: Any, neutral: Any) -> Any:
    return value if random.random() < 0.5 else neutral
