import math

import pytest
import torch

from detectron2.layers import (
    ROIAlign,
    batched_nms,
    batched_nms_rotated,
    nms,
    nms_rotated,
    paste_masks_in_image,
)
from detectron2.layers.mask_ops import pad_masks, paste_mask_in_image_old, scale_boxes
from detectron2.structures import (
    BitMasks,
    Boxes,
    RotatedBoxes,
    pairwise_iou,
    pairwise_iou_rotated,
)


def has_torchvision_operators():
    """Whether upright NMS and ROIAlign can run: upstream takes them from torchvision's library."""
    try:
        nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    except RuntimeError:
        return False
    return True


needs_operators = pytest.mark.skipif(
    not has_torchvision_operators(), reason="torchvision's compiled operators do not load here"
)


def random_boxes(count, seed, columns=4):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, columns, generator=generator) * 30 + 1
    if columns == 4:
        boxes[:, 2:] += boxes[:, :2]
    else:
        boxes[:, 4] *= 10
    return boxes, torch.rand(count, generator=generator)


def greedy(iou, scores, threshold, classes=None):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        same = [j for j in kept if classes is None or classes[i] == classes[j]]
        if all(iou[i, j] <= threshold for j in same):
            kept.append(i)
    return kept


@needs_operators
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_nms_is_greedy_suppression(threshold):
    boxes, scores = random_boxes(80, 0)
    classes = torch.arange(80) % 3
    iou = pairwise_iou(Boxes(boxes), Boxes(boxes))
    assert nms(boxes, scores, threshold).tolist() == greedy(iou, scores, threshold)
    kept = batched_nms(boxes, scores, classes, threshold)
    assert kept.tolist() == greedy(iou, scores, threshold, classes)
    assert kept.dtype == torch.int64


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_rotated_nms_is_greedy_suppression(threshold):
    boxes, scores = random_boxes(60, 1, columns=5)
    classes = torch.arange(60) % 3
    iou = pairwise_iou_rotated(RotatedBoxes(boxes), RotatedBoxes(boxes))
    assert nms_rotated(boxes, scores, threshold).tolist() == greedy(iou, scores, threshold)
    kept = batched_nms_rotated(boxes, scores, classes, threshold)
    assert kept.tolist() == greedy(iou, scores, threshold, classes)


def test_nms_of_nothing():
    empty = torch.zeros(0, dtype=torch.int64)
    assert batched_nms_rotated(torch.zeros(0, 5), torch.zeros(0), empty, 0.5).tolist() == []
    with pytest.raises(AssertionError):
        batched_nms(torch.zeros(2, 5), torch.zeros(2), empty, 0.5)


def bilinear(image, y, x):
    """Sample one point as ROIAlign does: zero beyond one pixel outside, clamped at the border."""
    height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    fy, fx = y - y0, x - x0
    top = (1 - fx) * image[y0, x0] + fx * image[y0, x1]
    bottom = (1 - fx) * image[y1, x0] + fx * image[y1, x1]
    return float((1 - fy) * top + fy * bottom)


def slow_roi_align(image, box, size, scale, ratio, aligned):
    x0, y0, x1, y1 = (v * scale - (0.5 if aligned else 0) for v in box)
    width, height = x1 - x0, y1 - y0
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    step_y, step_x = height / size[0], width / size[1]
    ny, nx = (ratio or math.ceil(step_y)), (ratio or math.ceil(step_x))
    out = torch.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            samples = [
                bilinear(
                    image, y0 + (i + (a + 0.5) / ny) * step_y, x0 + (j + (b + 0.5) / nx) * step_x
                )
                for a in range(ny)
                for b in range(nx)
            ]
            out[i, j] = sum(samples) / max(len(samples), 1)
    return out


@needs_operators
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align_equals_sampling_point_by_point(aligned, ratio):
    images = torch.randn(2, 3, 13, 17, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0, 2.3, 1.1, 12.9, 9.4], [1, -4, -3, 40, 30], [1, 5, 5, 5.2, 5.1]])
    pooled = ROIAlign((3, 4), 0.5, ratio, aligned)(images, boxes)
    assert pooled.shape == (3, 3, 3, 4)
    for region, box in zip(pooled, boxes.tolist()):
        for channel in range(3):
            image = images[int(box[0]), channel]
            expected = slow_roi_align(image, box[1:], (3, 4), 0.5, ratio, aligned)
            torch.testing.assert_close(region[channel], expected, atol=1e-5, rtol=1e-5)


@needs_operators
def test_roi_align_has_gradients_and_takes_no_boxes():
    image = torch.randn(1, 2, 8, 8, requires_grad=True)
    layer = ROIAlign(2, 1.0, 2)
    layer(image, torch.tensor([[0, 1.0, 1, 7, 7]])).sum().backward()
    assert image.grad.sum().item() == pytest.approx(2 * 2 * 2, rel=1e-5)  # each bin is a mean
    assert layer(image, torch.zeros(0, 5)).shape == (0, 2, 2, 2)
    with pytest.raises(AssertionError):
        layer(image, torch.zeros(1, 4))


@needs_operators
def test_bitmask_crop():
    masks = torch.zeros(1, 20, 20)
    masks[0, 4:12, 6:14] = 1
    crop = BitMasks(masks).crop_and_resize(torch.tensor([[2.0, 4, 18, 12]]), 16)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[:, 4:12] = True
    assert torch.equal(crop[0], expected)


def test_pasted_full_mask_fills_its_box():
    boxes = torch.tensor([[2.0, 3, 7, 9], [-4, -4, 3, 2], [8, 8, 30, 30]])
    pasted = paste_masks_in_image(torch.ones(3, 28, 28), Boxes(boxes), (12, 14))
    expected = torch.zeros(3, 12, 14, dtype=torch.bool)
    expected[0, 3:9, 2:7] = True
    expected[1, 0:2, 0:3] = True
    expected[2, 8:, 8:] = True
    assert pasted.dtype == torch.bool
    assert torch.equal(pasted, expected)


def test_pasted_values_are_bilinear_samples():
    mask = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(0))
    box = [1.5, 2.0, 11.0, 9.5]
    pasted = paste_masks_in_image(mask, torch.tensor([box]), (12, 13), threshold=-1)
    assert pasted.dtype == torch.uint8
    padded = torch.zeros(7, 7)
    padded[1:6, 1:6] = mask[0]
    for y in range(12):
        for x in range(13):
            u = (x + 0.5 - box[0]) / (box[2] - box[0]) * 5 - 0.5
            v = (y + 0.5 - box[1]) / (box[3] - box[1]) * 5 - 0.5
            inside = -1 < u < 5 and -1 < v < 5
            value = bilinear(padded, v + 1, u + 1) * 255 if inside else 0
            assert abs(pasted[0, y, x].item() - int(value + 1e-3)) <= 1
    assert paste_masks_in_image(mask[:0], torch.zeros(0, 4), (4, 5)).shape == (0, 4, 5)
    with pytest.raises(AssertionError, match="square"):
        paste_masks_in_image(mask[:, :4], torch.zeros(1, 4), (4, 5))


def test_old_paste_and_its_padding():
    masks, scale = pad_masks(torch.ones(1, 4, 4), 1)
    assert masks.shape == (1, 6, 6)
    assert masks.sum() == 16
    assert scale == 1.5
    boxes = scale_boxes(torch.tensor([[2.0, 2, 6, 10]]), 1.5)
    assert boxes.tolist() == [[1, 0, 7, 12]]
    pasted = paste_mask_in_image_old(torch.ones(3, 3), torch.tensor([2.7, 1.2, 5.9, 20]), 8, 9, 0.5)
    expected = torch.zeros(8, 9, dtype=torch.uint8)
    expected[1:, 2:6] = 1  # whole pixels, the last one included
    assert torch.equal(pasted, expected)
