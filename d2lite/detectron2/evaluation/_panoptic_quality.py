"""Panoptic quality (Kirillov et al. 2019, section 4) as COCO counts it, in numpy.

Shapes: G ground-truth segments, P predicted segments, H W image size.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import struct
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import kornia_rs
import numpy as np

from detectron2.utils.logger import log_first_n

VOID = 0  # segment id of pixels without ground truth
_ID_BITS = 24  # ids are the three bytes of an RGB pixel
_MAX_ID = 2**_ID_BITS - 1
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STRIP = 2**16  # pixels; OpenCV wakes its threads for more, which takes longer than the work
_RGB_OF_8_BITS = b"\x08\x02"  # bytes 24 and 25 of a PNG: bits per channel, kind of colour
_IMAGES_PER_PROCESS = 32  # fewer take less time than starting a process


def storable_ids(ids):
    """Copy integer ids [H, W] as COCO's PNGs would keep them, uint32 of 24 bits."""
    return ids.astype(np.uint32) & np.uint32(_MAX_ID)


def read_ids(file):
    """Read a COCO-panoptic PNG (path or open file) as segment ids, uint32 [H, W].

    Raises:
        ValueError: Not a picture.
    """
    if hasattr(file, "read"):
        content = file.read()
    else:
        with open(file, "rb") as opened:
            content = opened.read()
    try:
        rgb = _decode(content)
    except Exception as error:  # kornia-rs has no type of its own
        raise ValueError(f"{file} is not a picture that can be read: {error}") from error
    height, width, _ = rgb.shape
    rgba = np.empty((height, width, 4), np.uint8)  # alpha is the highest byte
    ids = rgba.view("<u4")[..., 0]
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        cv2.cvtColor(rgb[strip], cv2.COLOR_RGB2RGBA, rgba[strip])
        ids[strip] &= np.uint32(_MAX_ID)
    return ids


def _decode(content):
    """Decode a picture as RGB [H, W, 3]; kornia-rs takes a tenth of OpenCV's time where it can."""
    is_rgb = content.startswith(_PNG_SIGNATURE) and content[24:26] == _RGB_OF_8_BITS
    if is_rgb:
        width, height = struct.unpack_from(">II", content, 16)
        return kornia_rs.io.decode_image_png_u8(content, (height, width), "rgb")
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("of no known format")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


@dataclass(frozen=True)
class Matching:
    """Outcome of one image: the category ids of what was found, missed and made up."""

    tp_categories: np.ndarray
    tp_ious: np.ndarray
    fp_categories: np.ndarray
    fn_categories: np.ndarray


def match_segments(gt_ids, pred_ids, gt_segments, pred_segments, image_id=None):
    """Match predicted to true segments of the same category with IoU above one half.

    Void pixels count neither for nor against; crowd segments match nothing, and a prediction
    more than half covered by void and its category's crowd is not a false positive.

    Args:
        gt_ids: integer array [H, W], 0 is void.
        pred_ids: the same for the prediction.
        gt_segments: dicts with "id", "category_id" and perhaps "iscrowd"; areas are the pixels'.
        pred_segments: dicts with "id" and "category_id".
        image_id: named in errors.
    """
    gt = _SegmentTable(gt_segments)
    pred = _SegmentTable(pred_segments)
    shared, void, gt_area = _overlaps(gt_ids, pred_ids, gt, pred, image_id)
    if any(s.get("area", -1) != area for s, area in zip(gt.segments, gt_area.tolist())):
        log_first_n(
            logging.WARNING,
            f"image {image_id}: areas in the panoptic JSON are not those of its PNG, which count",
            name=__name__,
        )
    pred_area = shared.sum(axis=0)  # [P]
    if not pred_area.all():
        unseen = pred.ids[pred_area == 0].tolist()
        raise KeyError(f"image {image_id}: segments {unseen} are in the JSON but not in the PNG")
    shared = shared[:-1]  # [G, P]

    is_crowd = np.array([s.get("iscrowd", 0) == 1 for s in gt.segments], dtype=bool)
    same_category = gt.categories[:, None] == pred.categories  # [G, P]
    union = gt_area[:, None] + pred_area - shared - void
    is_candidate = same_category & ~is_crowd[:, None] & (shared > 0)
    iou = np.divide(shared, union, out=np.zeros(shared.shape), where=is_candidate)
    is_match = iou > 0.5

    # Like the reference, only the last crowd segment of a category excuses predictions.
    last_crowd = {c: g for g, c in enumerate(gt.categories.tolist()) if is_crowd[g]}
    excusing = np.zeros(len(gt.segments), dtype=bool)
    excusing[list(last_crowd.values())] = True
    excused = void + (shared * (same_category & excusing[:, None])).sum(axis=0)  # [P]
    is_missed = ~is_match.any(axis=1) & ~is_crowd
    is_false = ~is_match.any(axis=0) & (excused / pred_area <= 0.5)
    matched_gt, matched_pred = is_match.nonzero()
    return Matching(
        tp_categories=gt.categories[matched_gt],
        tp_ious=iou[matched_gt, matched_pred],
        fp_categories=pred.categories[is_false],
        fn_categories=gt.categories[is_missed],
    )


class PanopticQuality:
    """Sums matchings per category and averages their qualities.

    Args:
        categories: dicts with "id" and "isthing", as in COCO-panoptic JSON.
    """

    def __init__(self, categories):
        by_id = {category["id"]: category for category in categories}
        self._row = {category_id: row for row, category_id in enumerate(by_id)}
        self._is_thing = np.array([c["isthing"] == 1 for c in by_id.values()], dtype=bool)
        self.iou, self.tp, self.fp, self.fn = np.zeros((4, len(by_id)))

    def add(self, matching):
        """Count one image."""
        for totals, categories, weights in (
            (self.iou, matching.tp_categories, matching.tp_ious),
            (self.tp, matching.tp_categories, 1),
            (self.fp, matching.fp_categories, 1),
            (self.fn, matching.fn_categories, 1),
        ):
            np.add.at(totals, [self._row[category] for category in categories.tolist()], weights)

    def averages(self):
        """Return {"All", "Things", "Stuff": {"pq", "sq", "rq", "n"}, "per_class": {id: ...}}.

        Categories that occur neither in truth nor prediction do not count; the average of no
        category at all is nan.
        """
        weight = self.tp + 0.5 * (self.fp + self.fn)
        present = weight > 0
        quality = {
            "pq": _ratio(self.iou, weight),
            "sq": _ratio(self.iou, self.tp),
            "rq": _ratio(self.tp, weight),
        }
        result = {}
        groups = {"All": True, "Things": self._is_thing, "Stuff": ~self._is_thing}
        for name, members in groups.items():
            counted = present & members
            n = int(counted.sum())
            mean = {key: float(v[counted].mean()) if n else np.nan for key, v in quality.items()}
            result[name] = {**mean, "n": n}
        result["per_class"] = {
            category_id: {key: float(values[row]) for key, values in quality.items()}
            for category_id, row in self._row.items()
        }
        return result


class AnnotatedMaps:
    """The truth of a dataset, to which predictions are matched image by image.

    Args:
        content: COCO-panoptic dict with "annotations" and "categories".
        read: annotation -> segment ids [H, W].
    """

    def __init__(self, content, read):
        self.content = content
        self._read = read
        self._annotations = {one["image_id"]: one for one in content["annotations"]}
        self._categories = {category["id"] for category in content["categories"]}

    def match(self, prediction, ids):
        """Match the segments of one image; None when it is not annotated.

        Args:
            prediction: dict with "image_id" and "segments_info".
            ids: segment ids [H, W].
        """
        image_id, segments = prediction["image_id"], prediction["segments_info"]
        truth = self._annotations.get(image_id)
        if truth is None:
            return None
        for category_id in (segment["category_id"] for segment in segments):
            if category_id not in self._categories:
                raise KeyError(f"image {image_id}: unknown category_id {category_id} is predicted")
        return match_segments(self._read(truth), ids, truth["segments_info"], segments, image_id)

    def quality(self, matchings):
        """Score the matchings, by image id, of every annotated image.

        Returns:
            As ``PanopticQuality.averages``.
        """
        quality = PanopticQuality(self.content["categories"])
        for image_id in (annotation["image_id"] for annotation in self.content["annotations"]):
            if image_id not in matchings:
                raise Exception(f"no prediction for the image with id: {image_id}")
            quality.add(matchings[image_id])
        return quality.averages()


def pq_compute(gt_json_file, pred_json_file, gt_folder=None, pred_folder=None):
    """Score a folder of COCO-panoptic predictions; folders default to the JSONs' names.

    On Linux, images are read and matched by one process per CPU.
    """
    readers, contents = [], []
    for json_file, folder in ((gt_json_file, gt_folder), (pred_json_file, pred_folder)):
        contents.append(json.loads(Path(json_file).read_text()))
        readers.append(_folder_reader(Path(folder or str(json_file).replace(".json", ""))))
    truth = AnnotatedMaps(contents[0], readers[0])
    annotated = {annotation["image_id"] for annotation in contents[0]["annotations"]}
    predictions = {
        annotation["image_id"]: annotation
        for annotation in contents[1]["annotations"]
        if annotation["image_id"] in annotated
    }
    matchings = _map(lambda one: truth.match(one, readers[1](one)), list(predictions.values()))
    return truth.quality(dict(zip(predictions, matchings)))


def _map(function, items):
    """Apply a function, which need not be picklable, to every item; its results must be."""
    # What decodes PNGs holds Python's lock, so threads would wait for each other. A child needs
    # nothing that does not survive a fork; elsewhere than on Linux forking is not safe.
    count = len(items) // _IMAGES_PER_PROCESS
    count = min(count, len(os.sched_getaffinity(0))) if sys.platform == "linux" else 1
    if count < 2:
        return [function(item) for item in items]
    results = [None] * len(items)
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(count - 1, fork, _inherit, (function, items, count)) as pool:
        others = {part: pool.submit(_apply_inherited, part) for part in range(1, count)}
        results[::count] = [function(item) for item in items[::count]]
        for part, other in others.items():
            results[part::count] = other.result()
    return results


def _inherit(*task):
    global _inherited  # of a child: what cannot be pickled comes by the fork
    _inherited = task
    gc.freeze()  # looking at what the parent made would copy it


def _apply_inherited(part):
    function, items, count = _inherited
    return [function(item) for item in items[part::count]]


def _folder_reader(folder):
    if not folder.is_dir():
        raise Exception(f"folder {folder} with panoptic PNGs does not exist")
    return lambda annotation: read_ids(os.path.join(folder, annotation["file_name"]))


class _SegmentTable:
    """The segments of one image as columns; of several with the same id, the last."""

    def __init__(self, segments):
        self.segments = list({segment["id"]: segment for segment in segments}.values())
        self.ids = np.array([s["id"] for s in self.segments], dtype=np.int64)
        self.categories = np.array([s["category_id"] for s in self.segments], dtype=np.int64)

    def columns(self):
        """Return the column of every id [2^24]: 0 for unknown ones, 1 for void, then segments."""
        columns = np.zeros(_MAX_ID + 1, dtype=np.uint32)  # only what is written takes memory
        columns[VOID] = 1
        rows = np.flatnonzero((self.ids >= 0) & (self.ids <= _MAX_ID))  # others are in no PNG
        columns[self.ids[rows]] = rows + 2
        return columns


def _overlaps(gt_ids, pred_ids, gt, pred, image_id):
    """Count the pixels of each pair of segments.

    Returns:
        shared [G + 1, P], its last row for ground truth outside the table, void [P] and the areas
        of the ground truth [G].
    """
    if gt_ids.shape != pred_ids.shape:
        raise ValueError(
            f"image {image_id}: prediction has shape {pred_ids.shape}, truth {gt_ids.shape}"
        )
    # Maps are made of long runs, and runs are much fewer than pixels.
    flat_gt, flat_pred = gt_ids.reshape(-1), pred_ids.reshape(-1)
    is_new = flat_gt[1:] != flat_gt[:-1]
    is_new |= flat_pred[1:] != flat_pred[:-1]
    bounds = np.concatenate([[0], np.flatnonzero(is_new) + 1, [flat_gt.size]])
    starts, lengths = bounds[:-1], bounds[1:] - bounds[:-1]

    gt_columns, pred_columns = gt.columns(), pred.columns()
    rows = gt_columns.take(flat_gt.take(starts))
    columns = pred_columns.take(flat_pred.take(starts))
    stray = flat_pred[starts[columns == 0]]
    if stray.size:
        raise KeyError(f"image {image_id}: segment {stray[0]} is in the PNG but not in the JSON")
    height, width = len(gt.ids) + 2, len(pred.ids) + 2
    pairs = np.bincount(rows.astype(np.int64) * width + columns, lengths, height * width)
    gt_area = pairs.reshape(height, width)[2:].sum(axis=1)
    pixels = pairs.reshape(height, width)[:, 2:]
    shared = np.concatenate([pixels[2:], pixels[:2].sum(axis=0, keepdims=True)])
    return shared, pixels[gt_columns[VOID]], gt_area


def _ratio(numerator, denominator):
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
