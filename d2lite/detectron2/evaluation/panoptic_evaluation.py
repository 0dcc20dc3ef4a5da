"""COCO panoptic quality of a model's panoptic maps."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
from tabulate import tabulate

from detectron2.data import MetadataCatalog
from detectron2.evaluation._panoptic_quality import (
    AnnotatedMaps,
    pq_compute,
    read_ids,
    storable_ids,
)
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import setup_logger

logger = logging.getLogger(__name__)


class COCOPanopticEvaluator(DatasetEvaluator):
    """Scores "panoptic_seg" outputs by PQ, SQ and RQ; must run on every rank.

    A prediction is matched to the truth as it comes, and never becomes a file.

    Args:
        dataset_name: a dataset whose metadata has panoptic_json, panoptic_root and the maps
            {thing,stuff}_dataset_id_to_contiguous_id.
        output_dir: where to write predictions.json; None does not keep it.
    """

    def __init__(self, dataset_name: str, output_dir: str | None = None):
        meta = MetadataCatalog.get(dataset_name)
        self._metadata = meta
        self._thing_contiguous_id_to_dataset_id = _inverse(meta.thing_dataset_id_to_contiguous_id)
        self._stuff_contiguous_id_to_dataset_id = _inverse(meta.stuff_dataset_id_to_contiguous_id)
        self._output_dir = output_dir
        if output_dir is not None:
            PathManager.mkdirs(output_dir)

    def reset(self):
        self._predictions = []  # what COCO's JSON has of every image, and its matching
        self._annotated_maps = None

    def process(self, inputs, outputs):
        if self._annotated_maps is None:
            self._annotated_maps = self._read_annotated_maps()
        for image, output in zip(inputs, outputs):
            panoptic, segments = output["panoptic_seg"]
            panoptic = panoptic.cpu().numpy()
            if segments is None:
                segments = self._segments_from_ids(panoptic)
                panoptic = panoptic + 1  # -1 was void, which COCO writes as 0
            stem = os.path.splitext(os.path.basename(image["file_name"]))[0]
            prediction = {
                "image_id": image["image_id"],
                "file_name": stem + ".png",
                "segments_info": [self._convert_category_id(s) for s in segments],
            }
            matching = self._annotated_maps.match(prediction, storable_ids(panoptic))
            self._predictions.append((prediction, matching))

    def evaluate(self):
        comm.synchronize()
        self._predictions = list(itertools.chain(*comm.gather(self._predictions)))
        if not comm.is_main_process():
            return None

        truth = self._annotated_maps or self._read_annotated_maps()
        if self._output_dir is not None:
            annotations = [prediction for prediction, _ in self._predictions]
            with PathManager.open(os.path.join(self._output_dir, "predictions.json"), "w") as f:
                f.write(json.dumps({**truth.content, "annotations": annotations}))
        qualities = truth.quality({p["image_id"]: matching for p, matching in self._predictions})
        _print_panoptic_results(qualities)
        scores = {
            metric + suffix: 100 * qualities[group][metric.lower()]
            for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st"))
            for metric in ("PQ", "SQ", "RQ")
        }
        return OrderedDict(panoptic_seg=scores)

    def _read_annotated_maps(self):
        folder = Path(PathManager.get_local_path(self._metadata.panoptic_root))
        with PathManager.open(self._metadata.panoptic_json, "r") as f:
            return AnnotatedMaps(json.load(f), lambda one: read_ids(folder / one["file_name"]))

    def _segments_from_ids(self, panoptic):
        """Read segments off ids that are ``category * label_divisor + number``, -1 for void."""
        things = set(self._metadata.thing_dataset_id_to_contiguous_id.values())
        segments = []
        for label in np.unique(panoptic).tolist():
            if label != -1:
                category = label // self._metadata.label_divisor
                is_thing = category in things
                segments.append({"id": label + 1, "category_id": category, "isthing": is_thing})
        return segments

    def _convert_category_id(self, segment_info):
        """Return the segment with its dataset's category id; one without "isthing" has it."""
        if segment_info.get("isthing") is None:
            return segment_info
        segment = {key: value for key, value in segment_info.items() if key != "isthing"}
        dataset_id = (
            self._thing_contiguous_id_to_dataset_id
            if segment_info["isthing"]
            else self._stuff_contiguous_id_to_dataset_id
        )
        segment["category_id"] = dataset_id[segment_info["category_id"]]
        return segment


def _inverse(mapping):
    return {value: key for key, value in mapping.items()}


def _print_panoptic_results(pq_res):
    rows = [
        [group, *(100 * pq_res[group][key] for key in ("pq", "sq", "rq")), pq_res[group]["n"]]
        for group in ("All", "Things", "Stuff")
    ]
    table = tabulate(
        rows,
        headers=["", "PQ", "SQ", "RQ", "#categories"],
        tablefmt="pipe",
        floatfmt=".3f",
        stralign="center",
        numalign="center",
    )
    logger.info("Panoptic Evaluation Results:\n" + table)


def _main():
    """Score a folder of predictions: python -m detectron2.evaluation.panoptic_evaluation."""
    parser = argparse.ArgumentParser()
    for option in ("--gt-json", "--gt-dir", "--pred-json", "--pred-dir"):
        parser.add_argument(option, required=option.endswith("json"))
    args = parser.parse_args()
    setup_logger(name=__name__)
    _print_panoptic_results(pq_compute(args.gt_json, args.pred_json, args.gt_dir, args.pred_dir))


if __name__ == "__main__":
    _main()
