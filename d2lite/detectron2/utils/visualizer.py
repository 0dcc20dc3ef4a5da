"""Draws predictions and annotations on images."""

from __future__ import annotations

from enum import Enum, unique

import matplotlib.colors as mplc
import numpy as np
import torch
from PIL import Image

from detectron2._missing import missing
from detectron2.data import MetadataCatalog
from detectron2.structures import BitMasks, Boxes, BoxMode, Keypoints, PolygonMasks
from detectron2.utils._vis_canvas import (
    _BLACK,
    _LARGE_MASK_AREA_THRESH,
    _OFF_WHITE,
    _RED,
    _SMALL_OBJECT_AREA_THRESH,
    VisImage,
    _Canvas,
    _median_point,
)
from detectron2.utils._vis_mask import GenericMask, _create_text_labels, _PanopticPrediction
from detectron2.utils.colormap import random_color
from detectron2.utils.file_io import PathManager

__all__ = ["ColorMode", "VisImage", "Visualizer"]

_KEYPOINT_THRESHOLD = 0.05

# Importable from here as upstream; drawing code outside this package uses them.
_REEXPORTED = (_BLACK, _LARGE_MASK_AREA_THRESH, _RED)


@unique
class ColorMode(Enum):
    """How instances are coloured."""

    IMAGE = 0  # a random colour each, half transparent
    SEGMENTATION = 1  # the class colour (metadata.thing_colors) varied, nearly opaque
    IMAGE_BW = 2  # as IMAGE, on an image that is grey outside the predicted masks


class Visualizer(_Canvas):
    """Draws on one RGB image.

    ``draw_{text,box,circle,line,polygon,binary_mask,soft_mask}`` draw primitives;
    ``draw_{instance_predictions,sem_seg,panoptic_seg,dataset_dict}`` and ``overlay_instances``
    draw results in a fixed style. All return the ``VisImage``; ``get_output`` does too.

    Args:
        img_rgb: array [H, W, 3] in 0..255.
        metadata: dataset metadata with class names and colours.
        scale: factor from the image's to the drawing's size.
        instance_mode: colouring of instances.
        font_size_scale: extra factor on the default font size.
    """

    def __init__(
        self, img_rgb, metadata=None, scale=1.0, instance_mode=ColorMode.IMAGE, font_size_scale=1.0
    ):
        self.img = np.asarray(img_rgb).clip(0, 255).astype(np.uint8)
        self.metadata = MetadataCatalog.get("__nonexist__") if metadata is None else metadata
        self.output = VisImage(self.img, scale=scale)
        self.cpu_device = torch.device("cpu")
        self.keypoint_threshold = _KEYPOINT_THRESHOLD
        self._instance_mode = instance_mode
        by_image_size = np.sqrt(self.output.height * self.output.width) // 90
        readable = 10 // scale
        self._default_font_size = max(by_image_size, readable) * font_size_scale

    def get_output(self):
        """Return the image drawn so far."""
        return self.output

    def draw_instance_predictions(self, predictions, jittering: bool = True):
        """Draw an ``Instances`` on the CPU.

        Args:
            predictions: with any of pred_boxes, pred_classes, scores, pred_masks,
                pred_keypoints.
            jittering: in mode SEGMENTATION, vary the class colour between instances.
        """
        fields = predictions.get_fields()
        classes = fields["pred_classes"].tolist() if "pred_classes" in fields else None
        masks = fields.get("pred_masks")

        colors, alpha = None, 0.5
        if self._instance_mode == ColorMode.SEGMENTATION and self.metadata.get("thing_colors"):
            colors, alpha = self._class_colors(classes, jittering), 0.8
        elif self._instance_mode == ColorMode.IMAGE_BW:
            alpha = 0.3
            covered = None if masks is None else np.asarray(masks).any(axis=0)
            self.output.reset_image(self._create_grayscale_image(covered))

        return self.overlay_instances(
            boxes=fields.get("pred_boxes"),
            labels=_create_text_labels(
                classes, fields.get("scores"), self.metadata.get("thing_classes", None)
            ),
            masks=None if masks is None else self._convert_masks(np.asarray(masks)),
            keypoints=fields.get("pred_keypoints"),
            assigned_colors=colors,
            alpha=alpha,
        )

    def draw_sem_seg(
        self, sem_seg, area_threshold=None, alpha=0.8, draw_text=True, edge_color=_OFF_WHITE
    ):
        """Draw a label map, its largest class first; labels without a class are left out.

        Args:
            sem_seg: integer tensor or array [H, W].
            area_threshold: smaller connected parts are not drawn.
            alpha: opacity.
            draw_text: write the class names.
            edge_color: of the parts' outlines.
        """
        sem_seg = np.asarray(sem_seg)
        names = self.metadata.stuff_classes
        labels, areas = np.unique(sem_seg, return_counts=True)
        for label in labels[np.argsort(-areas)].tolist():
            if 0 <= label < len(names):
                self.draw_binary_mask(
                    sem_seg == label,
                    color=self._stuff_color(label),
                    edge_color=edge_color,
                    text=names[label] if draw_text else None,
                    alpha=alpha,
                    area_threshold=area_threshold,
                )
        return self.output

    def draw_panoptic_seg(self, panoptic_seg, segments_info, area_threshold=None, alpha=0.7):
        """Draw a panoptic map: stuff below, things above.

        Args:
            panoptic_seg: integer tensor [H, W] of segment ids.
            segments_info: dicts with "id", "category_id", "isthing" and perhaps "score" and
                "iscrowd"; None if ids are ``category_id * metadata.label_divisor + number``.
            area_threshold: smaller connected parts of stuff are not drawn.
            alpha: opacity.
        """
        prediction = _PanopticPrediction(panoptic_seg, segments_info, self.metadata)
        if self._instance_mode == ColorMode.IMAGE_BW:
            self.output.reset_image(self._create_grayscale_image(prediction.non_empty_mask()))

        for mask, info in prediction.semantic_masks():
            self.draw_binary_mask(
                mask,
                color=self._stuff_color(info["category_id"]),
                edge_color=_OFF_WHITE,
                text=self.metadata.stuff_classes[info["category_id"]],
                alpha=alpha,
                area_threshold=area_threshold,
            )

        things = list(prediction.instance_masks())
        if not things:
            return self.output
        masks, infos = zip(*things)
        classes = [info["category_id"] for info in infos]
        has_scores = all("score" in info for info in infos)
        labels = _create_text_labels(
            classes,
            [info["score"] for info in infos] if has_scores else None,
            self.metadata.thing_classes,
            [info.get("iscrowd", 0) for info in infos],
        )
        has_colors = self.metadata.get("thing_colors") is not None
        colors = self._class_colors(classes) if has_colors else None
        return self.overlay_instances(
            masks=masks, labels=labels, assigned_colors=colors, alpha=alpha
        )

    draw_panoptic_seg_predictions = draw_panoptic_seg  # its older name

    def draw_dataset_dict(self, dic):
        """Draw the annotations of one image in Detectron2's dataset format."""
        if dic.get("annotations"):
            self._draw_annotations(dic["annotations"])

        sem_seg = dic.get("sem_seg")
        if sem_seg is None and "sem_seg_file_name" in dic:
            sem_seg = _read_image(dic["sem_seg_file_name"]).astype("uint8")
        if sem_seg is not None:
            self.draw_sem_seg(sem_seg, area_threshold=0, alpha=0.5)

        pan_seg = dic.get("pan_seg")
        if pan_seg is None and "pan_seg_file_name" in dic:
            rgb = _read_image(dic["pan_seg_file_name"]).astype(np.int64)
            pan_seg = rgb @ [1, 256, 256**2]  # [H, W], COCO panoptic's coding of ids
        if pan_seg is not None:
            self.draw_panoptic_seg(
                torch.as_tensor(pan_seg), dic["segments_info"], area_threshold=0, alpha=0.5
            )
        return self.output

    def _draw_annotations(self, annotations):
        first = annotations[0]
        masks = [a["segmentation"] for a in annotations] if "segmentation" in first else None
        keypoints = None
        if "keypoints" in first:
            flat = [a["keypoints"] for a in annotations]
            keypoints = np.array(flat).reshape(len(annotations), -1, 3)
        classes = [a["category_id"] for a in annotations]
        by_class = self._instance_mode == ColorMode.SEGMENTATION
        self.overlay_instances(
            boxes=[_to_xyxy(a) for a in annotations],
            labels=_create_text_labels(
                classes,
                None,
                self.metadata.get("thing_classes", None),
                [a.get("iscrowd", 0) for a in annotations],
            ),
            masks=masks,
            keypoints=keypoints,
            assigned_colors=self._class_colors(classes)
            if by_class and self.metadata.get("thing_colors")
            else None,
        )

    def overlay_instances(
        self,
        *,
        boxes=None,
        labels=None,
        masks=None,
        keypoints=None,
        assigned_colors=None,
        alpha=0.5,
    ):
        """Draw N objects, the largest first.

        Args:
            boxes: ``Boxes``, or array [N, 4] xyxy.
            labels: N texts.
            masks: ``PolygonMasks``, ``BitMasks``, or N of: list of polygons, binary array,
                RLE dict, ``GenericMask``.
            keypoints: ``Keypoints`` or array [N, K, 3] of x, y, visibility or score.
            assigned_colors: N matplotlib colours; default random.
            alpha: opacity of the masks.
        """
        boxes = None if boxes is None else self._convert_boxes(boxes)
        masks = None if masks is None else self._convert_masks(masks)
        keypoints = None if keypoints is None else self._convert_keypoints(keypoints)
        count = next((len(given) for given in (boxes, masks, keypoints) if given is not None), 0)
        for name, given in (("masks", masks), ("keypoints", keypoints), ("labels", labels)):
            assert given is None or len(given) == count, f"{len(given)} {name} for {count} objects"
        if assigned_colors is None:
            assigned_colors = [random_color(rgb=True, maximum=1) for _ in range(count)]
        if count == 0:
            return self.output
        if boxes is not None and boxes.shape[1] == 5:
            raise missing("the drawing of rotated boxes")

        order = _largest_first(boxes, masks, count)
        for index in order:
            self._overlay_instance(
                boxes[index] if boxes is not None else None,
                labels[index] if labels is not None else None,
                masks[index] if masks is not None else None,
                assigned_colors[index],
                alpha,
            )
        if keypoints is not None:
            for index in order:
                self.draw_and_connect_keypoints(keypoints[index])
        return self.output

    def _overlay_instance(self, box, label, mask, color, alpha):
        if box is not None:
            self.draw_box(box, edge_color=color)
        if mask is not None:
            for polygon in mask.polygons:
                self.draw_polygon(polygon.reshape(-1, 2), color, alpha=alpha)
        if label is None:
            return
        if box is not None:
            position, alignment = (box[0], box[1]), "left"
        elif mask is not None and mask.polygons:
            box, position, alignment = mask.bbox(), _median_point(mask.mask), "center"
        else:
            return  # keypoints alone, or a mask too small for a polygon
        self.draw_text(
            label,
            self._outside_if_small(box, position),
            color=self._change_color_brightness(color, brightness_factor=0.7),
            horizontal_alignment=alignment,
            font_size=self._label_font_size(box[3] - box[1]),
        )

    def _outside_if_small(self, box, position):
        """Move the label of a small object below it, or right of it at the lower border."""
        left, top, right, bottom = box
        scale, height = self.output.scale, bottom - top
        if (right - left) * height >= _SMALL_OBJECT_AREA_THRESH * scale and height >= 40 * scale:
            return position
        return (right, top) if bottom >= self.output.height - 5 else (left, bottom)

    def _stuff_color(self, label):
        """Return the class colour in 0..1, or None where the metadata has none."""
        try:
            return [channel / 255 for channel in self.metadata.stuff_colors[label]]
        except (AttributeError, IndexError):
            return None

    def _class_colors(self, classes, jittering=True):
        plain = [[channel / 255 for channel in self.metadata.thing_colors[c]] for c in classes]
        return [self._jitter(color) if jittering else mplc.to_rgb(color) for color in plain]

    def _create_grayscale_image(self, mask=None):
        """Return the image in grey, but in colour inside the bool mask [H, W]."""
        grey = np.repeat(self.img.astype("f4").mean(axis=2, keepdims=True), 3, axis=2)
        if mask is not None:
            grey[mask] = self.img[mask]
        return grey

    def _convert_boxes(self, boxes):
        if isinstance(boxes, Boxes):
            return boxes.tensor.detach().numpy()
        return np.asarray(boxes)

    def _convert_masks(self, masks_or_polygons):
        masks = masks_or_polygons
        if isinstance(masks, PolygonMasks):
            masks = masks.polygons
        elif isinstance(masks, BitMasks):
            masks = masks.tensor.numpy()
        elif isinstance(masks, torch.Tensor):
            masks = masks.numpy()
        size = (self.output.height, self.output.width)
        return [m if isinstance(m, GenericMask) else GenericMask(m, *size) for m in masks]

    def _convert_keypoints(self, keypoints):
        return np.asarray(keypoints.tensor if isinstance(keypoints, Keypoints) else keypoints)


def _largest_first(boxes, masks, count):
    """Return the drawing order, by box area or else mask area or else as given."""
    if boxes is not None:
        return np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    if masks is not None:
        return np.argsort(-np.array([mask.area() for mask in masks]).astype(np.int64))
    return range(count)


def _to_xyxy(annotation):
    box = annotation["bbox"]
    if len(box) == 5:
        return box
    return BoxMode.convert(box, annotation["bbox_mode"], BoxMode.XYXY_ABS)


def _read_image(file_name):
    with PathManager.open(file_name, "rb") as f:
        return np.asarray(Image.open(f))
