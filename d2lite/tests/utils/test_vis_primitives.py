"""Primitive drawing operations and masks, by pixels and by matplotlib's artists."""

from __future__ import annotations

import cv2
import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from matplotlib.patches import Polygon, Rectangle

from detectron2.utils.visualizer import GenericMask, VisImage, Visualizer, _create_text_labels

H, W = 60, 90


def grey():
    return np.full((H, W, 3), 100, dtype=np.uint8)


def block(y0, x0, y1, x1):
    mask = np.zeros((H, W), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def texts(visualizer):
    return [t.get_text() for t in visualizer.output.ax.texts]


def patches(visualizer, kind):
    return [p for p in visualizer.output.ax.patches if type(p) is kind]


def mixed(color, alpha):
    """What a colour in 0..1 makes of the grey picture."""
    return [alpha * 255 * c + (1 - alpha) * 100 for c in color]


class TestVisImage:
    @pytest.mark.parametrize("scale", [1.0, 2.0, 0.5])
    @pytest.mark.parametrize("size", [(60, 90), (101, 333), (928, 627)])
    def test_size(self, size, scale):
        image = VisImage(np.zeros((*size, 3)), scale=scale).get_image()
        assert image.shape == (int(size[0] * scale), int(size[1] * scale), 3)
        assert image.dtype == np.uint8

    def test_pixels_are_kept(self):
        pixels = np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.uint8)
        assert (VisImage(pixels).get_image() == pixels).all()
        doubled = VisImage(pixels, scale=2).get_image()
        assert (doubled == pixels.repeat(2, axis=0).repeat(2, axis=1)).all()

    def test_saved_file_is_the_image(self, tmp_path):
        image = VisImage(grey())
        image.save(str(tmp_path / "a.png"))
        assert (cv2.imread(str(tmp_path / "a.png"))[..., ::-1] == image.get_image()).all()

    def test_reset_image(self):
        image = VisImage(grey())
        image.reset_image(grey() + 50.7)
        assert (image.get_image() == 150).all()


class TestGenericMask:
    def test_formats_agree(self):
        mask = block(10, 20, 40, 70)
        rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
        runs = [20 * H + 10]
        for column in range(50):
            runs += [30, 30] if column < 49 else [30, 20 * H + 20]
        polygon = [np.array([20, 10, 70, 10, 70, 40, 20, 40.0])]
        uncompressed = {"counts": runs, "size": [H, W]}
        for source in (mask, rle, uncompressed, polygon):
            generic = GenericMask(source, H, W)
            assert (generic.mask == mask).all()
            assert generic.mask.dtype == np.uint8
            assert generic.area() == 1500
            assert not generic.has_holes
            assert np.abs(generic.bbox() - [20, 10, 70, 40]).max() <= 1

    def test_holes_are_seen(self):
        mask = block(10, 10, 50, 50) & ~block(20, 20, 30, 30)
        generic = GenericMask(mask, H, W)
        assert generic.has_holes
        assert len(generic.polygons) == 2
        assert not GenericMask(generic.polygons, H, W).has_holes

    def test_empty_mask(self):
        generic = GenericMask(np.zeros((H, W), bool), H, W)
        assert generic.polygons == []
        assert generic.area() == 0

    def test_wrong_inputs(self):
        with pytest.raises(AssertionError):
            GenericMask(np.zeros((H, W + 1)), H, W)
        with pytest.raises(ValueError, match="type"):
            GenericMask("mask", H, W)


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        ((None, None, ["a"]), None),
        (([1, 0], None, ["a", "b"]), ["b", "a"]),
        (([1, 0], None, None), ["1", "0"]),
        (([1], [0.876], ["a", "b"]), ["b 88%"]),
        ((None, torch.tensor([0.5, 1.0]), None), ["50%", "100%"]),
        (([0, 0], None, ["a"], [0, 1]), ["a", "a|crowd"]),
    ],
)
def test_create_text_labels(arguments, labels):
    assert _create_text_labels(*arguments) == labels


class TestPrimitives:
    def test_all_return_the_output(self):
        v = Visualizer(grey())
        corners = np.array([[1, 1], [20, 1], [1, 20]])
        for output in (
            v.draw_text("a", (5, 5)),
            v.draw_box((1, 2, 30, 40)),
            v.draw_circle((9, 9), "r"),
            v.draw_line([1, 9], [1, 9], "r"),
            v.draw_polygon(corners, "r"),
            v.draw_binary_mask(block(0, 0, 9, 9)),
            v.draw_soft_mask(np.ones((H, W))),
            v.get_output(),
        ):
            assert output is v.output

    @pytest.mark.parametrize("has_hole", [False, True])
    def test_binary_mask_is_blended(self, has_hole):
        mask = block(10, 10, 50, 70)
        if has_hole:
            mask &= ~block(20, 20, 30, 30)
        v = Visualizer(grey())
        image = v.draw_binary_mask(mask, color="blue", alpha=0.5).get_image()
        assert image[40, 60] == pytest.approx(mixed((0, 0, 1), 0.5), abs=2)
        assert (image[5, 5] == 100).all()
        if has_hole:
            assert (image[25, 25] == 100).all()

    def test_small_parts_of_a_mask_are_left_out(self):
        mask = block(0, 0, 4, 4) | block(20, 20, 50, 50)
        v = Visualizer(grey())
        v.draw_binary_mask(mask, color="r", text="t", area_threshold=100)
        assert len(patches(v, Polygon)) == 1
        assert texts(v) == ["t"]
        v = Visualizer(grey())
        v.draw_binary_mask(mask, color="r", text="t", area_threshold=2000)
        assert patches(v, Polygon) == []
        assert texts(v) == []

    def test_soft_mask_is_blended_by_its_values(self):
        ramp = np.tile(np.linspace(0, 1, W), (H, 1))
        image = Visualizer(grey()).draw_soft_mask(ramp, color="red", alpha=0.8).get_image()
        for x in (0, 30, 60, 89):
            assert image[30, x] == pytest.approx(mixed((1, 0, 0), 0.8 * ramp[0, x]), abs=2)

    def test_text_is_inside_its_mask(self):
        v = Visualizer(grey())
        v.draw_binary_mask(block(30, 50, 50, 80), text="here")
        (text,) = v.output.ax.texts
        x, y = text.get_position()
        assert 50 <= x < 80
        assert 30 <= y < 50

    def test_box_outline(self):
        v = Visualizer(grey())
        v.draw_box((10, 20, 40, 50), edge_color="g")
        (box,) = patches(v, Rectangle)
        assert box.get_bbox().extents == pytest.approx([10, 20, 40, 50])
        assert not box.get_fill()
