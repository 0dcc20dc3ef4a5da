"""Batched masked crops against cutting and resizing one by one."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from freeseg.ops import mask_areas, mask_boxes, masked_crops


def one_by_one(image, masks, boxes, size):
    crops = []
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
        crop = (image * mask)[None, :, top:bottom, left:right]
        crops.append(F.interpolate(crop, size, mode="bicubic", align_corners=True))
    return torch.cat(crops)


@pytest.mark.parametrize("size", [(8, 8), (5, 13), (1, 4)])
def test_equals_interpolation_of_every_crop(size):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 20, 30, generator=generator)
    masks = torch.rand(6, 20, 30, generator=generator) > 0.5
    masks[0], masks[1] = False, False
    masks[0, 4, 7] = True  # one pixel
    masks[1, 3:9, 29] = True  # one column at the border
    masks[2, :, 11:] = False
    boxes = mask_boxes(masks)
    expected = one_by_one(image, masks, boxes, size)
    torch.testing.assert_close(masked_crops(image, masks, boxes, size), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(0, 7), (1, 1), (11, 13), (16, 8), (40, 33)])
def test_areas_are_numbers_of_pixels(size):
    masks = torch.rand(5, *size, generator=torch.Generator().manual_seed(0)) > 0.3
    masks[0], masks[1] = True, False
    assert torch.equal(mask_areas(masks), masks.flatten(1).sum(1))
    assert torch.equal(mask_areas(masks.mT), masks.flatten(1).sum(1))  # scattered memory
    assert mask_areas(masks[:0]).shape == (0,)


def test_doubles_stay_doubles_and_no_mask_gives_no_crop():
    image = torch.randn(3, 6, 6, dtype=torch.float64)
    masks = torch.ones(1, 6, 6, dtype=torch.bool)
    boxes = mask_boxes(masks)
    assert masked_crops(image, masks, boxes, (6, 6)).dtype == torch.float64
    torch.testing.assert_close(masked_crops(image, masks, boxes, (6, 6))[0], image)
    assert masked_crops(image, masks[:0], boxes[:0], (4, 4)).shape == (0, 3, 4, 4)
