"""Semantic segmentation scores from a confusion matrix.

Shapes: K classes, H W image size.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
from collections import OrderedDict

import cv2
import numpy as np
import pycocotools.mask as mask_util
import torch
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.utils.comm import all_gather, is_main_process, synchronize
from detectron2.utils.file_io import PathManager

_MAX_BOUNDARY_CLASSES = 254  # boundaries are found by eroding uint8 label maps


def load_image_into_numpy_array(filename: str, dtype: np.dtype | str | None = None) -> np.ndarray:
    """Read an image file as an array, with its pixel values as they are."""
    with PathManager.open(filename, "rb") as f, Image.open(f) as image:
        return np.array(image, dtype=dtype)


class SemSegEvaluator(DatasetEvaluator):
    """Scores "sem_seg" outputs [K, H, W] by IoU, accuracy and boundary IoU.

    Args:
        dataset_name: a dataset with sem_seg_file_name per image and stuff_classes metadata.
        distributed: gather from all ranks; otherwise score this process alone.
        output_dir: where to write sem_seg_predictions.json and sem_seg_evaluation.pth.
        sem_seg_loading_fn: reads a ground-truth file: (file name, dtype) -> [H, W].
        num_classes: deprecated, must agree with the metadata.
        ignore_label: deprecated, overrides the metadata.
    """

    def __init__(
        self,
        dataset_name,
        distributed=True,
        output_dir=None,
        *,
        sem_seg_loading_fn=load_image_into_numpy_array,
        num_classes=None,
        ignore_label=None,
    ):
        self._logger = logging.getLogger(__name__)
        for name, given in (("num_classes", num_classes), ("ignore_label", ignore_label)):
            if given is not None:
                self._logger.warning(
                    f"SemSegEvaluator({name}) is deprecated! It is read from the metadata."
                )
        self._dataset_name = dataset_name
        self._distributed = distributed
        self._output_dir = output_dir
        self._cpu_device = torch.device("cpu")
        self.sem_seg_loading_fn = sem_seg_loading_fn
        self.input_file_to_gt_file = {
            record["file_name"]: record["sem_seg_file_name"]
            for record in DatasetCatalog.get(dataset_name)
        }

        meta = MetadataCatalog.get(dataset_name)
        to_contiguous = getattr(meta, "stuff_dataset_id_to_contiguous_id", None)
        self._contiguous_id_to_dataset_id = (
            None if to_contiguous is None else {v: k for k, v in to_contiguous.items()}
        )
        self._class_names = meta.stuff_classes
        self._num_classes = len(meta.stuff_classes)
        if num_classes is not None:
            assert self._num_classes == num_classes, f"{self._num_classes} != {num_classes}"
        self._ignore_label = meta.ignore_label if ignore_label is None else ignore_label
        self._compute_boundary_iou = self._num_classes <= _MAX_BOUNDARY_CLASSES
        if not self._compute_boundary_iou:
            self._logger.warning(
                f"boundary IoU is not computed: {dataset_name} has {self._num_classes} classes,"
                f" and it supports at most {_MAX_BOUNDARY_CLASSES}"
            )

    def reset(self):
        size = self._num_classes + 1  # the last row and column stand for "ignored"
        self._conf_matrix = np.zeros((size, size), dtype=np.int64)  # [prediction, truth]
        self._b_conf_matrix = np.zeros((size, size), dtype=np.int64)
        self._predictions = []

    def process(self, inputs, outputs):
        """Count one batch; outputs are dicts with "sem_seg" [K, H, W], any per-class score."""
        for image, output in zip(inputs, outputs):
            file_name = image["file_name"]
            scores = output["sem_seg"]
            pred = scores.argmax(dim=0).to(self._cpu_device).numpy().astype(int)  # [H, W]
            gt = self.sem_seg_loading_fn(self.input_file_to_gt_file[file_name], dtype=int)
            gt = np.where(gt == self._ignore_label, self._num_classes, gt)

            self._conf_matrix += self._confusion(pred, gt)
            if self._compute_boundary_iou:
                pred_boundary = self._mask_to_boundary(pred.astype(np.uint8))
                gt_boundary = self._mask_to_boundary(gt.astype(np.uint8))
                self._b_conf_matrix += self._confusion(pred_boundary, gt_boundary)
            self._predictions.extend(self.encode_json_sem_seg(pred, file_name))

    def _confusion(self, pred, gt):
        size = self._num_classes + 1
        if pred.shape != gt.shape or gt.max(initial=0) >= size:
            raise ValueError(
                f"prediction {pred.shape} and ground truth {gt.shape} of {self._dataset_name} must"
                f" have one size, and labels be under {self._num_classes} or {self._ignore_label}"
            )
        joint = size * pred.astype(np.int64).reshape(-1) + gt.reshape(-1)
        return np.bincount(joint, minlength=size**2).reshape(size, size)

    def evaluate(self):
        """Return {"sem_seg": scores} in percent, None on other than the main rank.

        Scores are mIoU, fwIoU (weighted by class frequency), mACC, pACC, and per class IoU-name,
        BoundaryIoU-name, min(IoU, B-Iou)-name, ACC-name. Classes without ground truth are nan
        and do not count in the means.
        """
        if self._distributed:
            synchronize()
            matrices = all_gather(self._conf_matrix)
            boundary_matrices = all_gather(self._b_conf_matrix)
            self._predictions = list(itertools.chain(*all_gather(self._predictions)))
            if not is_main_process():
                return None
            self._conf_matrix = np.sum(matrices, axis=0)
            self._b_conf_matrix = np.sum(boundary_matrices, axis=0)

        if self._output_dir:
            PathManager.mkdirs(self._output_dir)
            path = os.path.join(self._output_dir, "sem_seg_predictions.json")
            with PathManager.open(path, "w") as f:
                f.write(json.dumps(self._predictions))  # much faster than json.dump

        scores = self._scores()
        if self._output_dir:
            path = os.path.join(self._output_dir, "sem_seg_evaluation.pth")
            with PathManager.open(path, "wb") as f:
                torch.save(scores, f)
        results = OrderedDict(sem_seg=scores)
        self._logger.info(results)
        return results

    def _scores(self):
        hits, in_gt, union = _counts(self._conf_matrix)
        is_present = in_gt > 0
        accuracy = _percent(hits, in_gt, is_present)
        iou = _percent(hits, union, is_present & (union > 0))
        if self._compute_boundary_iou:
            boundary_hits, _, boundary_union = _counts(self._b_conf_matrix)
            boundary_iou = _percent(boundary_hits, boundary_union, boundary_union > 0)

        scores = {
            "mIoU": _mean(iou[is_present]),
            "fwIoU": np.average(iou[is_present], weights=in_gt[is_present])
            if is_present.any()
            else np.nan,
        }
        for index, name in enumerate(self._class_names):
            scores[f"IoU-{name}"] = iou[index]
            if self._compute_boundary_iou:
                scores[f"BoundaryIoU-{name}"] = boundary_iou[index]
                scores[f"min(IoU, B-Iou)-{name}"] = min(iou[index], boundary_iou[index])
        scores["mACC"] = _mean(accuracy[is_present])
        scores["pACC"] = 100 * hits.sum() / in_gt.sum() if in_gt.any() else np.nan
        scores.update((f"ACC-{name}", value) for name, value in zip(self._class_names, accuracy))
        return scores

    def encode_json_sem_seg(self, sem_seg, input_file_name):
        """Return a label map as COCO stuff results: per class an RLE with its dataset id."""
        to_dataset = self._contiguous_id_to_dataset_id
        results = []
        for label in np.unique(sem_seg).tolist():
            assert to_dataset is None or label in to_dataset, (
                f"label {label} is not in the metadata of {self._dataset_name}"
            )
            rle = mask_util.encode(np.asfortranarray(sem_seg == label, dtype=np.uint8))
            rle["counts"] = rle["counts"].decode("utf-8")
            results.append(
                {
                    "file_name": input_file_name,
                    "category_id": label if to_dataset is None else to_dataset[label],
                    "segmentation": rle,
                }
            )
        return results

    def _mask_to_boundary(self, mask: np.ndarray, dilation_ratio=0.02):
        """Return a uint8 map minus its erosion by ``dilation_ratio`` of the image diagonal.

        Parity: published boundary IoU erodes one class at a time. Upstream erodes the label
        map, so that only differences of labels near a border with a lower label remain.
        """
        assert mask.ndim == 2, f"a label map has two dimensions, not {mask.ndim}"
        reach = max(1, round(dilation_ratio * math.hypot(*mask.shape)))
        framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        eroded = cv2.erode(framed, np.ones((3, 3), dtype=np.uint8), iterations=reach)
        return mask - eroded[1:-1, 1:-1]


def _counts(matrix):
    """Return hits, ground-truth pixels and union per class [K], ignored pixels left out."""
    matrix = matrix[:-1, :-1].astype(float)
    hits, in_gt, in_pred = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    return hits, in_gt, in_gt + in_pred - hits


def _percent(part, whole, is_defined):
    out = np.full(len(part), np.nan)
    return np.divide(100 * part, whole, out=out, where=is_defined)


def _mean(values):
    return values.mean() if values.size else np.nan
