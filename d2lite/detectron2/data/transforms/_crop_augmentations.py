"""Augmentations that choose a part of the image."""

from __future__ import annotations

import numpy as np
from fvcore.transforms.transform import (
    CropTransform,
    NoOpTransform,
    PadTransform,
    Transform,
    TransformList,
)

from detectron2.structures import Boxes, pairwise_iou

from .augmentation import Augmentation

_CROP_TYPES = ("relative_range", "relative", "absolute", "absolute_range")


class FixedSizeCrop(Augmentation):
    """Gives images of one size: crops what is larger, pads what is smaller at right and bottom."""

    def __init__(
        self,
        crop_size: tuple[int, int],
        pad: bool = True,
        pad_value: float = 128.0,
        seg_pad_value: int = 255,
    ) -> None:
        """Remember the size.

        Args:
            crop_size: (height, width) of the output.
            pad: whether to pad; a smaller image stays smaller otherwise.
            pad_value: colour of the padding.
            seg_pad_value: label of the padding.
        """
        super().__init__()
        self.crop_size, self.pad = crop_size, pad
        self.pad_value, self.seg_pad_value = pad_value, seg_pad_value

    def _get_crop(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        crop_height, crop_width = self.crop_size
        surplus = np.maximum((height - crop_height, width - crop_width), 0)
        # One number for both axes, so windows lie on the diagonal.
        top, left = np.round(surplus * np.random.uniform()).astype(int)
        return CropTransform(left, top, crop_width, crop_height, width, height)

    def _get_pad(self, image: np.ndarray) -> Transform:
        cropped = np.minimum(image.shape[:2], self.crop_size)
        bottom, right = np.subtract(self.crop_size, cropped)
        height, width = cropped
        return PadTransform(0, 0, right, bottom, width, height, self.pad_value, self.seg_pad_value)

    def get_transform(self, image: np.ndarray) -> TransformList:
        crop = self._get_crop(image)
        return TransformList([crop, self._get_pad(image)] if self.pad else [crop])


class RandomCrop(Augmentation):
    """Cuts a random window out of the image."""

    def __init__(self, crop_type: str, crop_size: tuple[float, float]) -> None:
        """Check and remember how large the window is.

        Args:
            crop_type: what ``crop_size`` means.
                "relative": (height, width) as shares of the image's;
                "relative_range": the smallest of those shares, the largest being 1;
                "absolute": (height, width) in pixels, at most the image's;
                "absolute_range": (smallest, largest) in pixels, for both sides.
            crop_size: two numbers.
        """
        super().__init__()
        assert crop_type in _CROP_TYPES, f"crop_type should be in {_CROP_TYPES}, got {crop_type}"
        self.crop_type, self.crop_size = crop_type, crop_size

    def get_transform(self, image: np.ndarray) -> Transform:
        return _random_window(image.shape[:2], self.get_crop_size(image.shape[:2]))

    def get_crop_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of a window in an image of that (height, width)."""
        height, width = image_size
        first, second = self.crop_size
        if self.crop_type == "absolute":
            return min(first, height), min(second, width)
        if self.crop_type == "absolute_range":
            assert first <= second, f"{self.crop_size} should be (smallest, largest)"
            return _randint(min(height, first), min(height, second)), _randint(
                min(width, first), min(width, second)
            )
        share = np.asarray(self.crop_size)
        if self.crop_type == "relative_range":
            share = share.astype(np.float32)
            share = share + np.random.rand(2) * (1 - share)
        return int(height * share[0] + 0.5), int(width * share[1] + 0.5)


class RandomCrop_CategoryAreaConstraint(Augmentation):  # noqa: N801 - upstream's name
    """A ``RandomCrop`` in which no category of ``sem_seg`` takes up too much of the window.

    The last of ten windows is taken if none of them is good.
    """

    def __init__(
        self,
        crop_type: str,
        crop_size: tuple[float, float],
        single_category_max_area: float = 1.0,
        ignored_category: int | None = None,
    ) -> None:
        """Remember the limits.

        Args:
            crop_type: as in ``RandomCrop``.
            crop_size: as in ``RandomCrop``.
            single_category_max_area: the largest share a category may have; 1 for any.
            ignored_category: a label which counts neither as a category nor as area.
        """
        super().__init__()
        self.crop_aug = RandomCrop(crop_type, crop_size)
        self.crop_type, self.crop_size = crop_type, crop_size
        self.single_category_max_area = single_category_max_area
        self.ignored_category = ignored_category

    def get_transform(self, image: np.ndarray, sem_seg: np.ndarray) -> Transform:
        if self.single_category_max_area >= 1.0:
            return self.crop_aug.get_transform(image)
        for _ in range(10):
            window = _random_window(sem_seg.shape, self.crop_aug.get_crop_size(sem_seg.shape))
            if self._is_mixed(window.apply_segmentation(sem_seg)):
                break
        return window

    def _is_mixed(self, labels: np.ndarray) -> bool:
        categories, areas = np.unique(labels, return_counts=True)
        if self.ignored_category is not None:
            areas = areas[categories != self.ignored_category]
        return len(areas) > 1 and areas.max() < areas.sum() * self.single_category_max_area


class MinIoURandomCrop(Augmentation):
    """Cuts a random window which has at least some IoU with every box, as SSD does.

    How much is drawn from ``min_ious``, 0 and 1 at each trial, where 1 means not to crop. The
    window's sides are in a ratio between 1/2 and 2, and it holds the centre of some box.
    """

    def __init__(
        self,
        min_ious: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9),
        min_crop_size: float = 0.3,
        mode_trials: int = 1000,
        crop_trials: int = 50,
    ) -> None:
        """Remember the limits.

        Args:
            min_ious: the IoUs to choose from.
            min_crop_size: shortest side of the window as a share of the image's.
            mode_trials: how often to draw an IoU.
            crop_trials: how many windows to try for each.
        """
        super().__init__()
        self.min_ious = min_ious
        self.sample_mode = (1, *min_ious, 0)
        self.min_crop_size = min_crop_size
        self.mode_trials, self.crop_trials = mode_trials, crop_trials

    def get_transform(self, image: np.ndarray, boxes: np.ndarray | None) -> Transform:
        if boxes is None:
            return NoOpTransform()
        boxes = boxes.reshape(-1, 4)
        for _ in range(self.mode_trials):
            min_iou = np.random.choice(self.sample_mode)
            if min_iou == 1:
                break
            for _ in range(self.crop_trials):
                window = self._draw_window(*image.shape[:2])
                if window is not None and self._is_good(window, boxes, min_iou):
                    left, top, width, height = map(int, window)
                    return CropTransform(left, top, width, height)
        return NoOpTransform()

    def _draw_window(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """Return (left, top, width, height), or None if the shape is too long."""
        new_width = np.random.uniform(self.min_crop_size * width, width)
        new_height = np.random.uniform(self.min_crop_size * height, height)
        if not 0.5 <= new_height / new_width <= 2:
            return None
        # Parity: upstream passes the upper end as uniform()'s lower one, whose other end is 1.
        left = np.random.uniform(width - new_width, 1.0)
        top = np.random.uniform(height - new_height, 1.0)
        return left, top, new_width, new_height

    @staticmethod
    def _is_good(
        window: tuple[float, float, float, float], boxes: np.ndarray, min_iou: float
    ) -> bool:
        left, top, width, height = window
        corners = np.array([int(left), int(top), int(left + width), int(top + height)])
        if corners[0] == corners[2] or corners[1] == corners[3]:
            return False  # a line or a point
        if len(boxes) == 0:
            return True
        if pairwise_iou(Boxes(corners[None]), Boxes(boxes)).min() < min_iou:
            return False
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        return ((corners[:2] < centers) & (centers < corners[2:])).all(axis=1).any()


def _randint(low: int, high: int) -> int:
    """Draw from both ends and what lies between."""
    return np.random.randint(low, high + 1)


def _random_window(image_size: tuple[int, int], window_size: tuple[int, int]) -> CropTransform:
    height, width = image_size
    crop_height, crop_width = window_size
    fits = crop_height <= height and crop_width <= width
    assert fits, f"cannot cut {window_size} out of {image_size}"
    top, left = _randint(0, height - crop_height), _randint(0, width - crop_width)
    return CropTransform(left, top, crop_width, crop_height)
