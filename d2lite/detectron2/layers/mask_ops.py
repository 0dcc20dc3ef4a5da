"""Pastes masks predicted inside boxes into the image, and its older, coarser variant.

Shapes: N masks, S mask side, H W image size.
"""

# `paste_masks_in_image` is scripted: annotations are not postponed
from typing import Tuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

__all__ = ["paste_masks_in_image"]

_FLOATS_AT_ONCE = 1 << 28  # 1 GB of sampled values


@torch.jit.script_if_tracing
def paste_masks_in_image(
    masks: torch.Tensor, boxes: torch.Tensor, image_shape: Tuple[int, int], threshold: float = 0.5
) -> torch.Tensor:
    """Resample masks [N, S, S] with values 0..1 into their boxes [N, 4] (or Boxes) in an image.

    Returns bool [N, H, W], or uint8 values 0..255 if `threshold` is negative.
    """
    assert masks.shape[-1] == masks.shape[-2], "Only square mask predictions are supported"
    height, width = image_shape
    if len(masks) == 0:
        return torch.empty([0, height, width], dtype=torch.uint8, device=masks.device)
    if not isinstance(boxes, torch.Tensor):
        boxes = boxes.tensor
    assert len(boxes) == len(masks), boxes.shape
    if not masks.is_floating_point():
        masks = masks.float()

    dtype = torch.bool if threshold >= 0 else torch.uint8
    pasted = torch.zeros([len(masks), height, width], dtype=dtype, device=masks.device)
    on_cpu = boxes.device.type == "cpu"
    step = 1 if on_cpu else max(1, _FLOATS_AT_ONCE // max(1, height * width))
    for start in range(0, len(masks), step):
        box, x0, y0, x1, y1 = boxes[start : start + step], 0, 0, width, height
        if on_cpu:  # only what the box can touch
            x0, y0 = max(0, int(box[0, 0].floor()) - 1), max(0, int(box[0, 1].floor()) - 1)
            x1, y1 = min(width, int(box[0, 2].ceil()) + 1), min(height, int(box[0, 3].ceil()) + 1)
        if x1 > x0 and y1 > y0:
            values = _sample(masks[start : start + step], box, (x0, y0), (x1, y1))
            values = values >= threshold if threshold >= 0 else (values * 255).to(torch.uint8)
            pasted[start : start + step, y0:y1, x0:x1] = values
    return pasted


def _sample(
    masks: torch.Tensor, boxes: torch.Tensor, start: Tuple[int, int], end: Tuple[int, int]
) -> torch.Tensor:
    """Return the masks' values [N, h, w] at the pixel centres between two image corners (x, y)."""
    x = torch.arange(start[0], end[0], device=boxes.device, dtype=torch.float32) + 0.5
    y = torch.arange(start[1], end[1], device=boxes.device, dtype=torch.float32) + 0.5
    x0, y0, x1, y1 = boxes.split(1, dim=1)  # [N, 1] each
    grid_x = (x - x0) / (x1 - x0) * 2 - 1
    grid_y = (y - y0) / (y1 - y0) * 2 - 1
    size = [len(boxes), len(y), len(x)]
    grid = torch.stack([grid_x[:, None].expand(size), grid_y[:, :, None].expand(size)], dim=3)
    return F.grid_sample(masks[:, None], grid.to(masks.dtype), align_corners=False)[:, 0]


@torch.jit.script_if_tracing
def _paste_masks_tensor_shape(
    masks: torch.Tensor,
    boxes: torch.Tensor,
    image_shape: Tuple[torch.Tensor, torch.Tensor],
    threshold: float = 0.5,
) -> torch.Tensor:
    """Paste into an image whose size is traced, so that a trace does not fix it."""
    size = (int(image_shape[0]), int(image_shape[1]))
    return paste_masks_in_image(masks, boxes, size, threshold)


def paste_mask_in_image_old(
    mask: torch.Tensor, box: torch.Tensor, img_h: int, img_w: int, threshold: float
) -> torch.Tensor:
    """Paste one mask [S, S] by Detectron1's whole-pixel boxes: uint8 [H, W]; for comparison."""
    x0, y0, x1, y1 = box.to(torch.int32).tolist()
    # Parity: a box from 0 to 4 covers five pixels here
    patch = Image.fromarray(mask.cpu().numpy())
    patch = np.asarray(patch.resize((x1 - x0 + 1, y1 - y0 + 1), resample=Image.BILINEAR))
    values = patch > threshold if threshold >= 0 else patch * 255
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x1 + 1, img_w), min(y1 + 1, img_h)
    pasted = torch.zeros((img_h, img_w), dtype=torch.uint8)
    visible = values[top - y0 : bottom - y0, left - x0 : right - x0]
    pasted[top:bottom, left:right] = torch.from_numpy(visible.astype(np.uint8))
    return pasted


def pad_masks(masks: torch.Tensor, padding: int) -> Tuple[torch.Tensor, float]:
    """Pad masks [N, S, S] with zeros on all sides; returns them and the growth factor."""
    side = masks.shape[-1]
    return F.pad(masks, [padding] * 4), float(side + 2 * padding) / side


def scale_boxes(boxes: torch.Tensor, scale: float) -> torch.Tensor:
    """Scale boxes [N, 4] about their centres."""
    top_left, bottom_right = boxes.split(2, dim=1)
    center, half_size = (top_left + bottom_right) / 2, (bottom_right - top_left) / 2 * scale
    return torch.cat([center - half_size, center + half_size], dim=1)
