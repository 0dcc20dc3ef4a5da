"""Pascal VOC average precision of boxes, close to the official Matlab code's.

Shapes: G ground-truth boxes of an image, D detections of a class.
"""

from __future__ import annotations

import logging
import os
import xml.etree.ElementTree as ET
from collections import OrderedDict, defaultdict

import numpy as np
import torch

from detectron2.data import MetadataCatalog
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager

_IOU_PERCENTS = range(50, 100, 5)


class PascalVOCDetectionEvaluator(DatasetEvaluator):
    """Scores "instances" boxes by AP, AP50 and AP75; must run on every rank.

    Args:
        dataset_name: a dataset whose metadata has dirname, split, year (2007 or 2012) and
            thing_classes; for 2007, AP is the 11-point average.
    """

    def __init__(self, dataset_name):
        meta = MetadataCatalog.get(dataset_name)
        assert meta.year in (2007, 2012), meta.year
        self._dataset_name = dataset_name
        self._annotation_dir = os.path.join(meta.dirname, "Annotations")
        self._image_set_path = os.path.join(meta.dirname, "ImageSets", "Main", meta.split + ".txt")
        self._class_names = meta.thing_classes
        self._is_2007 = meta.year == 2007
        self._cpu_device = torch.device("cpu")
        self._logger = logging.getLogger(__name__)

    def reset(self):
        self._predictions = defaultdict(list)  # class -> (image id, score, box) of 1-based pixels

    def process(self, inputs, outputs):
        for image, output in zip(inputs, outputs):
            instances = output["instances"].to(self._cpu_device)
            # The official format has one-based pixels and few decimals.
            boxes = instances.pred_boxes.tensor.double().numpy() + np.array([1, 1, 0, 0])
            boxes = boxes.round(1)
            scores = instances.scores.double().numpy().round(3)
            for label, score, box in zip(instances.pred_classes.tolist(), scores, boxes):
                self._predictions[label].append((image["image_id"], score, box))

    def evaluate(self):
        """Return {"bbox": {"AP", "AP50", "AP75"}} in percent, None on other than rank 0."""
        gathered = comm.gather(dict(self._predictions), dst=0)
        if not comm.is_main_process():
            return None
        annotations = self._read_annotations()
        precision = np.zeros((len(self._class_names), len(_IOU_PERCENTS)))
        for label, name in enumerate(self._class_names):
            detections = [d for of_rank in gathered for d in of_rank.get(label, [])]
            truth = {image_id: _BoxesOfClass(objects, name) for image_id, objects in annotations}
            for column, percent in enumerate(_IOU_PERCENTS):
                recalls, precisions = _curve(detections, truth, percent / 100)
                precision[label, column] = 100 * _average(recalls, precisions, self._is_2007)
        means = dict(zip(_IOU_PERCENTS, precision.mean(axis=0)))
        scores = {"AP": precision.mean(), "AP50": means[50], "AP75": means[75]}
        return OrderedDict(bbox=scores)

    def _read_annotations(self):
        with PathManager.open(self._image_set_path, "r") as f:
            image_ids = f.read().split()
        files = {i: os.path.join(self._annotation_dir, f"{i}.xml") for i in image_ids}
        return [(i, _read_objects(PathManager.get_local_path(p))) for i, p in files.items()]


def _read_objects(xml_file):
    """Return (name, is difficult, box) of each object in a VOC annotation file."""
    objects = []
    for node in ET.parse(xml_file).findall("object"):
        corners = node.find("bndbox")
        box = [float(corners.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax")]
        objects.append((node.findtext("name"), node.findtext("difficult", "0") == "1", box))
    return objects


class _BoxesOfClass:
    """One image's ground truth of one class."""

    def __init__(self, objects, name):
        mine = [(is_difficult, box) for found, is_difficult, box in objects if found == name]
        self.is_difficult = np.array([is_difficult for is_difficult, _ in mine], dtype=bool)  # [G]
        self.boxes = np.array([box for _, box in mine]).reshape(-1, 4)

    def best_match(self, box):
        """Return (index, IoU) of the box that overlaps most; pixels are one unit wide."""
        if not len(self.boxes):
            return -1, 0.0
        low = np.maximum(self.boxes[:, :2], box[:2])
        high = np.minimum(self.boxes[:, 2:], box[2:])
        shared = (high - low + 1).clip(min=0).prod(axis=1)
        iou = shared / (_area(self.boxes) + _area(box) - shared)
        index = int(iou.argmax())
        return index, iou[index]


def _area(boxes):
    return (boxes[..., 2:] - boxes[..., :2] + 1).prod(axis=-1)


def _curve(detections, truth, min_iou):
    """Return recall and precision after each detection, best score first.

    A detection is right if the box that it overlaps most is free; one on a "difficult" box
    counts for nothing.
    """
    order = np.argsort([-score for _, score, _ in detections], kind="stable")
    taken = set()
    outcome = np.zeros(len(detections))  # 1 right, -1 wrong, 0 neither
    for rank, position in enumerate(order):
        image_id, _, box = detections[position]
        index, iou = truth[image_id].best_match(box)
        if iou <= min_iou:
            outcome[rank] = -1
        elif not truth[image_id].is_difficult[index]:
            outcome[rank] = -1 if (image_id, index) in taken else 1
            taken.add((image_id, index))
    right, wrong = np.cumsum(outcome == 1), np.cumsum(outcome == -1)
    num_wanted = sum(int((~boxes.is_difficult).sum()) for boxes in truth.values())
    return right / max(num_wanted, 1), right / np.maximum(right + wrong, 1)


def _average(recalls, precisions, use_11_points):
    """Average precision over recall: at 0, 0.1 ... 1, or the area under its envelope."""
    envelope = np.maximum.accumulate(precisions[::-1])[::-1]
    if use_11_points:
        at = [envelope[recalls >= r].max(initial=0) for r in np.arange(0.0, 1.1, 0.1)]
        return float(np.sum(at) / 11)
    return float(np.sum(np.diff(recalls, prepend=0) * envelope))
