"""Reading image files upright, and the colour formats that models may ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from detectron2.utils.file_io import PathManager

# BT.601, https://en.wikipedia.org/wiki/YUV#SDTV_with_BT.601
_M_RGB2YUV = [[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]]
_M_YUV2RGB = [[1.0, 0.0, 1.13983], [1.0, -0.39465, -0.58060], [1.0, 2.03211, 0.0]]

_EXIF_ORIENT = 274  # the tag "Orientation"

_UPRIGHT = {  # orientation -> what turns the stored image upright; 1 is upright already
    2: Image.FLIP_LEFT_RIGHT,
    3: Image.ROTATE_180,
    4: Image.FLIP_TOP_BOTTOM,
    5: Image.TRANSPOSE,
    6: Image.ROTATE_270,
    7: Image.TRANSVERSE,
    8: Image.ROTATE_90,
}


def read_image(file_name: str, format: str | None = None) -> np.ndarray:
    """Read an image file, turned upright if its EXIF data says how.

    Args:
        file_name: a path that ``PathManager`` understands.
        format: a PIL mode, "BGR" or "YUV-BT.601"; None keeps the file's.

    Returns:
        [H, W, C], uint8 for the usual modes; floating point with Y in [0, 1] for YUV.
    """
    with PathManager.open(file_name, "rb") as file:
        return convert_PIL_to_numpy(_apply_exif_orientation(Image.open(file)), format)


def _apply_exif_orientation(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_EXIF_ORIENT)
    except Exception:  # broken EXIF data raises all kinds, and is no reason to lose the image
        return image
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def convert_PIL_to_numpy(image: Image.Image, format: str | None) -> np.ndarray:  # noqa: N802
    """Convert a PIL image to an array in a format of ``read_image``."""
    if format is not None:
        image = image.convert("RGB" if format in ("BGR", "YUV-BT.601") else format)
    pixels = np.asarray(image)
    if format == "L":
        return pixels[:, :, None]
    if format == "BGR":
        return pixels[:, :, ::-1]
    if format == "YUV-BT.601":
        return (pixels / 255.0) @ np.transpose(_M_RGB2YUV)
    return pixels


def convert_image_to_rgb(image: np.ndarray | torch.Tensor, format: str) -> np.ndarray:
    """Convert [H, W, C] in a format of ``read_image`` to RGB in [0, 255], uint8 or float."""
    if isinstance(image, torch.Tensor):
        image = image.cpu().numpy()
    if format == "BGR":
        return image[:, :, ::-1].copy()
    if format == "YUV-BT.601":
        return image @ np.transpose(_M_YUV2RGB) * 255.0
    pixels = np.ascontiguousarray(image, dtype=np.uint8)
    height, width = pixels.shape[:2]
    return np.asarray(Image.frombytes(format, (width, height), pixels.tobytes()).convert("RGB"))


class SizeMismatchError(ValueError):
    """The image in the file has another size than its annotation says."""


def check_image_size(dataset_dict: dict[str, Any], image: np.ndarray) -> None:
    """Compare the size in the dict with the image's, or fill it in where it is missing."""
    height, width = image.shape[:2]
    if "width" in dataset_dict or "height" in dataset_dict:
        expected = dataset_dict["width"], dataset_dict["height"]
        if expected != (width, height):
            file_name = dataset_dict.get("file_name")
            of_image = f" for image {file_name}" if file_name else ""
            raise SizeMismatchError(
                f"Mismatched image shape{of_image}, got {(width, height)}, expect {expected}. "
                "Please check the width/height in your annotation."
            )
    dataset_dict.setdefault("width", width)
    dataset_dict.setdefault("height", height)
