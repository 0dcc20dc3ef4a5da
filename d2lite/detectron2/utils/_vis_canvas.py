"""The matplotlib canvas under the visualizer and its primitive drawing operations."""

from __future__ import annotations

import colorsys

import cv2
import matplotlib.colors as mplc
import matplotlib.figure as mplfigure
import numpy as np
import pycocotools.mask as mask_util
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon, Rectangle

from detectron2.utils._vis_mask import GenericMask
from detectron2.utils.colormap import random_color

_SMALL_OBJECT_AREA_THRESH = 1000  # square pixels; below, labels go beside the object
_LARGE_MASK_AREA_THRESH = 120000  # square pixels; above, each connected part has its own label
_OFF_WHITE = (1.0, 1.0, 240.0 / 255)
_BLACK = (0, 0, 0)
_RED = (1.0, 0, 0)


class VisImage:
    """An image that can be drawn on.

    Args:
        img: RGB array [H, W, 3] in 0..255.
        scale: factor from the image's to the drawing's size.
    """

    def __init__(self, img, scale=1.0):
        self.img = img
        self.scale = scale
        self.height, self.width = img.shape[:2]
        self._setup_figure(img)

    def _setup_figure(self, img):
        self.fig = mplfigure.Figure(frameon=False)
        self.dpi = self.fig.get_dpi()
        # matplotlib truncates width * dpi; without the hundredth it may lose a pixel.
        inches = [(side * self.scale + 1e-2) / self.dpi for side in (self.width, self.height)]
        self.fig.set_size_inches(*inches)
        self.canvas = FigureCanvasAgg(self.fig)
        self.ax = self.fig.add_axes([0.0, 0.0, 1.0, 1.0])
        self.ax.axis("off")
        self.reset_image(img)

    def reset_image(self, img):
        """Put another image of the same size under what is drawn."""
        self._show(img.astype("uint8"), interpolation="nearest")

    def _show(self, img, **kwargs):
        self.ax.imshow(img, extent=(0, self.width, self.height, 0), **kwargs)

    def save(self, filepath):
        self.fig.savefig(filepath)

    def get_image(self):
        """Return the drawing as RGB uint8 [H * scale, W * scale, 3]."""
        pixels, (width, height) = self.canvas.print_to_buffer()
        rgba = np.frombuffer(pixels, dtype="uint8").reshape(height, width, 4)
        return rgba[:, :, :3].copy()


class _Canvas:
    """Primitive drawing; subclasses provide what is declared here."""

    output: VisImage
    metadata: object
    keypoint_threshold: float
    _default_font_size: float

    def draw_text(
        self,
        text,
        position,
        *,
        font_size=None,
        color="g",
        horizontal_alignment="center",
        rotation=0,
    ):
        """Write text on a dark ground with its top at ``position`` (x, y).

        Args:
            text: what to write.
            position: x, y in pixels of the unscaled image.
            font_size: points; default follows the image size.
            color: any matplotlib colour; dark ones are brightened.
            horizontal_alignment: as in ``matplotlib.text.Text``.
            rotation: degrees counter-clockwise.
        """
        color = np.maximum(mplc.to_rgb(color), 0.2)
        color[color.argmax()] = max(color.max(), 0.8)
        x, y = position
        self.output.ax.text(
            x,
            y,
            text,
            fontsize=(font_size or self._default_font_size) * self.output.scale,
            fontfamily="sans-serif",
            color=color,
            ha=horizontal_alignment,
            va="top",
            rotation=rotation,
            zorder=10,
            bbox={"facecolor": "black", "alpha": 0.8, "edgecolor": "none", "pad": 0.7},
        )
        return self.output

    def draw_box(self, box_coord, alpha=0.5, edge_color="g", line_style="-"):
        """Draw the outline of a box x0, y0, x1, y1."""
        left, top, right, bottom = box_coord
        outline = Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=edge_color,
            alpha=alpha,
            linestyle=line_style,
            linewidth=max(self._default_font_size / 4, 1) * self.output.scale,
        )
        self.output.ax.add_patch(outline)
        return self.output

    def draw_circle(self, circle_coord, color, radius=3):
        """Draw a filled disc around (x, y)."""
        self.output.ax.add_patch(Circle(circle_coord, radius=radius, fill=True, color=color))
        return self.output

    def draw_line(self, x_data, y_data, color, linestyle="-", linewidth=None):
        """Draw a polyline; the width follows the image size unless given."""
        points = self._default_font_size / 3 if linewidth is None else linewidth
        self.output.ax.add_line(
            Line2D(
                x_data,
                y_data,
                linewidth=max(points, 1) * self.output.scale,
                color=color,
                linestyle=linestyle,
            )
        )
        return self.output

    def draw_polygon(self, segment, color, edge_color=None, alpha=0.5):
        """Draw a filled polygon [N, 2].

        Args:
            segment: the corners.
            color: any matplotlib colour.
            edge_color: default is ``color``, darkened where the filling is nearly opaque.
            alpha: opacity of the filling; the edge is opaque.
        """
        if edge_color is None:
            is_opaque = alpha > 0.8
            edge_color = self._change_color_brightness(color, -0.7) if is_opaque else color
        patch = Polygon(
            segment,
            fill=True,
            facecolor=(*mplc.to_rgb(color), alpha),
            edgecolor=(*mplc.to_rgb(edge_color), 1),
            linewidth=max(self._default_font_size // 15 * self.output.scale, 1),
        )
        self.output.ax.add_patch(patch)
        return self.output

    def draw_binary_mask(
        self, binary_mask, color=None, *, edge_color=None, text=None, alpha=0.5, area_threshold=10
    ):
        """Draw a mask: as polygons, or as pixels if it has holes.

        Args:
            binary_mask: array [H, W] of 0 and 1.
            color: any matplotlib colour; None picks a random one.
            edge_color: of the polygons.
            text: label written inside the mask, or None.
            alpha: opacity.
            area_threshold: smaller connected parts (square pixels) are not drawn.
        """
        color = _or_random(color)
        binary_mask = binary_mask.astype("uint8")
        mask = GenericMask(binary_mask, self.output.height, self.output.width)
        if mask.has_holes:
            self._draw_pixels(color, (mask.mask == 1) * np.float32(alpha))
            is_drawn = True
        else:
            size = binary_mask.shape[:2]
            kept = [p for p in mask.polygons if _polygon_area(p, size) >= (area_threshold or 0)]
            for polygon in kept:
                self.draw_polygon(
                    polygon.reshape(-1, 2), color=color, edge_color=edge_color, alpha=alpha
                )
            is_drawn = bool(kept)
        if text is not None and is_drawn:
            self._draw_text_in_mask(
                binary_mask, text, self._change_color_brightness(color, brightness_factor=0.7)
            )
        return self.output

    def draw_soft_mask(self, soft_mask, color=None, *, text=None, alpha=0.5):
        """Draw a mask [H, W] of opacities in 0..1, labelled where it exceeds one half."""
        color = _or_random(color)
        self._draw_pixels(color, soft_mask * alpha)
        if text is not None:
            self._draw_text_in_mask(
                (soft_mask > 0.5).astype("uint8"),
                text,
                self._change_color_brightness(color, brightness_factor=0.7),
            )
        return self.output

    def draw_and_connect_keypoints(self, keypoints):
        """Draw one object's keypoints [K, 3] and the lines between them.

        Lines follow ``metadata.keypoint_connection_rules``; a person also gets a neck and a
        spine in red.
        """
        names = self.metadata.get("keypoint_names")
        visible = {}
        for index, (x, y, score) in enumerate(keypoints):
            if score > self.keypoint_threshold:
                self.draw_circle((x, y), color=_RED)
                if names:
                    visible[names[index]] = (x, y)

        for start, end, color in self.metadata.get("keypoint_connection_rules") or ():
            if start in visible and end in visible:
                rgb = tuple(channel / 255.0 for channel in color)
                self._connect(visible[start], visible[end], rgb)

        shoulders = _midpoint(visible, "left_shoulder", "right_shoulder")
        for end in (visible.get("nose"), _midpoint(visible, "left_hip", "right_hip")):
            if shoulders is not None and end is not None:
                self._connect(end, shoulders, _RED)
        return self.output

    def _connect(self, start, end, color):
        xs, ys = zip(start, end)
        self.draw_line(list(xs), list(ys), color=color)

    def _draw_pixels(self, color, opacity):
        rgba = np.empty((*opacity.shape[:2], 4), dtype="float32")
        rgba[..., :3] = color
        rgba[..., 3] = opacity
        self.output._show(rgba)

    def _draw_text_in_mask(self, binary_mask, text, color):
        """Write text at the median of the largest connected part and of any very large one."""
        count, parts, stats, _ = cv2.connectedComponentsWithStats(binary_mask, 8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        for part in range(1, count):
            if part == areas.argmax() + 1 or areas[part - 1] > _LARGE_MASK_AREA_THRESH:
                self.draw_text(text, _median_point(parts == part), color=color)

    def _label_font_size(self, object_height):
        """Font size for an object's label: between 0.6 and 1 of the default by its height."""
        relative = object_height / np.sqrt(self.output.height * self.output.width)
        return np.clip((relative - 0.02) / 0.08 + 1, 1.2, 2) * 0.5 * self._default_font_size

    def _change_color_brightness(self, color, brightness_factor):
        """Scale a colour's HLS lightness by ``1 + brightness_factor``, the factor in -1..1."""
        assert -1.0 <= brightness_factor <= 1.0, brightness_factor
        hue, lightness, saturation = colorsys.rgb_to_hls(*mplc.to_rgb(color))
        lightness = min(max(lightness * (1 + brightness_factor), 0.0), 1.0)
        return tuple(np.clip(colorsys.hls_to_rgb(hue, lightness, saturation), 0.0, 1.0))

    def _jitter(self, color):
        """Return the colour moved by half a unit in a random non-negative direction."""
        direction = np.random.rand(3)
        moved = mplc.to_rgb(color) + 0.5 * direction / np.linalg.norm(direction)
        return tuple(moved.clip(0, 1))


def _or_random(color):
    return mplc.to_rgb(random_color(rgb=True, maximum=1) if color is None else color)


def _polygon_area(polygon, size):
    return mask_util.area(mask_util.frPyObjects([polygon], *size))[0]


def _midpoint(visible, left, right):
    if left not in visible or right not in visible:
        return None
    return tuple((a + b) / 2 for a, b in zip(visible[left], visible[right]))


def _median_point(mask):
    """Return the median x, y of a mask's pixels; less drawn to outliers than the mean."""
    return np.median(mask.nonzero(), axis=1)[::-1]
