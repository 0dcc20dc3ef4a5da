"""COCO ground truth that COCOeval counts rightly, also where tools have written it loosely."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
from collections import Counter

import pycocotools.mask as mask_util
from pycocotools.coco import COCO

from detectron2.utils.file_io import PathManager

logger = logging.getLogger(__name__)


def load_truth(json_file):
    """Read an annotation file as pycocotools' COCO; what was mended is one warning.

    COCOeval takes annotation id 0 for "no match", reads fields that a mask makes superfluous, and
    sorts objects by an area that may be absent or negative. Ids that are no numbers from 1, or
    come twice, are given anew; areas and boxes that are absent or have no meaning are the mask's.
    """
    with PathManager.open(json_file, "r") as f:
        content = json.load(f)
    truth = COCO()
    if "annotations" in content:
        sizes = {image["id"]: image for image in content["images"]}
        mended = Counter()
        rows = content["annotations"]
        ids = [row.get("id") for row in rows]
        if not all(type(one) is int and one > 0 for one in ids) or len(set(ids)) < len(ids):
            content["annotations"] = rows = [{**row, "id": n} for n, row in enumerate(rows, 1)]
            mended["ids of annotations"] = len(rows)
        content["annotations"] = [_mend(row, sizes, mended) for row in rows]
        if mended:
            said = ", ".join(f"{count} {what}" for what, count in mended.items())
            logger.warning(f"{json_file}: mended for COCOeval: {said}")
    truth.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def _mend(row, sizes, mended):
    """Return an annotation with the fields that COCOeval reads."""
    area, box = row.get("area"), row.get("bbox")
    is_area = isinstance(area, (int, float)) and math.isfinite(area) and area >= 0
    if is_area and isinstance(box, list) and "iscrowd" in row:
        return row
    row = {"iscrowd": 0, **row}
    runs = _runs(row.get("segmentation"), sizes.get(row.get("image_id")))
    if not is_area:
        row["area"] = 0 if box is None else float(box[2] * box[3])
        row["area"] = row["area"] if runs is None else float(mask_util.area(runs))
        mended["areas"] += 1
    if not isinstance(box, list):
        row["bbox"] = [0, 0, 0, 0] if runs is None else mask_util.toBbox(runs).tolist()
        mended["boxes"] += 1
    return row


def _runs(segmentation, image):
    """Return a segmentation as pycocotools' run-length code, None where there is none."""
    if not segmentation or image is None:
        return None
    size = image["height"], image["width"]
    if isinstance(segmentation, list):
        polygons = [polygon for polygon in segmentation if len(polygon) >= 6]
        return mask_util.merge(mask_util.frPyObjects(polygons, *size)) if polygons else None
    is_plain = isinstance(segmentation["counts"], list)
    return mask_util.frPyObjects(segmentation, *size) if is_plain else segmentation
