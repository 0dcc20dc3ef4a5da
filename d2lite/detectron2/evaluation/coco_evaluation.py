"""COCO average precision of boxes, instance masks and keypoints."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import os
from collections import OrderedDict

import numpy as np
import pycocotools.mask as mask_util
import torch
from pycocotools.cocoeval import COCOeval
from tabulate import tabulate

from detectron2._missing import missing
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data.datasets.coco import convert_to_coco_json
from detectron2.evaluation._coco_truth import load_truth
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.evaluation.fast_eval_api import COCOeval_opt
from detectron2.structures import BoxMode
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import create_small_table

_BOX_METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]  # order of COCOeval.stats
_METRICS = {
    "bbox": _BOX_METRICS,
    "segm": _BOX_METRICS,
    "keypoints": ["AP", "AP50", "AP75", "APm", "APl"],
}
_DEFAULT_MAX_DETS = [1, 10, 100]


class COCOEvaluator(DatasetEvaluator):
    """Scores "instances" by AP, in percent; nan where undefined.

    Args:
        dataset_name: a dataset with json_file metadata, or any in the standard format, which
            is then converted into ``output_dir``.
        tasks: of "bbox", "segm", "keypoints"; default: what the predictions have.
        distributed: gather from all ranks; otherwise score this process alone.
        output_dir: where to write instances_predictions.pth and coco_instances_results.json.
        max_dets_per_image: limit of detections, 100 by default; not for keypoints.
        use_fast_impl: use ``COCOeval_opt``.
        kpt_oks_sigmas: per keypoint, for OKS; default COCO's.
        allow_cached_coco: reuse an earlier conversion of the dataset.
    """

    def __init__(
        self,
        dataset_name,
        tasks=None,
        distributed=True,
        output_dir=None,
        *,
        max_dets_per_image=None,
        use_fast_impl=True,
        kpt_oks_sigmas=(),
        allow_cached_coco=True,
    ):
        self._logger = logging.getLogger(__name__)
        self._distributed = distributed
        self._output_dir = output_dir
        self._use_fast_impl = use_fast_impl
        self._cpu_device = torch.device("cpu")
        limit = _DEFAULT_MAX_DETS[-1] if max_dets_per_image is None else max_dets_per_image
        self._max_dets_per_image = [*_DEFAULT_MAX_DETS[:-1], limit]

        if isinstance(tasks, CfgNode):
            self._logger.warning("COCOEvaluator(cfg) is deprecated: pass its arguments instead.")
            kpt_oks_sigmas = kpt_oks_sigmas or tasks.TEST.KEYPOINT_OKS_SIGMAS
            tasks = None
        self._tasks = tasks
        self._kpt_oks_sigmas = kpt_oks_sigmas

        self._metadata = MetadataCatalog.get(dataset_name)
        if not hasattr(self._metadata, "json_file"):
            self._convert_dataset(dataset_name, allow_cached_coco)
        self._coco_api = load_truth(PathManager.get_local_path(self._metadata.json_file))
        # The JSON of a test set has no annotations: results are written, not scored.
        self._do_evaluation = "annotations" in self._coco_api.dataset

    def _convert_dataset(self, name, allow_cached):
        if self._output_dir is None:
            raise ValueError(
                f"output_dir must be provided to COCOEvaluator: dataset {name} is not in COCO"
                " format and has to be converted"
            )
        self._logger.info(f"Trying to convert '{name}' to COCO format ...")
        path = os.path.join(self._output_dir, f"{name}_coco_format.json")
        self._metadata.json_file = path
        convert_to_coco_json(name, path, allow_cached=allow_cached)

    def reset(self):
        self._predictions = []

    def process(self, inputs, outputs):
        """Take in one batch; outputs are dicts with "instances"."""
        for image, output in zip(inputs, outputs):
            image_id = image["image_id"]
            if "proposals" in output:
                raise missing("the evaluation of box proposals")
            if "instances" in output:  # as RLE, since masks of a whole dataset do not fit
                instances = output["instances"].to(self._cpu_device)
                rows = instances_to_coco_json(instances, image_id)
                self._predictions.append({"image_id": image_id, "instances": rows})

    def evaluate(self, img_ids=None):
        """Return {task: scores}, {} on other than the main rank.

        Args:
            img_ids: score these images only.
        """
        predictions = self._predictions
        if self._distributed:
            comm.synchronize()
            predictions = list(itertools.chain(*comm.gather(predictions, dst=0)))
            if not comm.is_main_process():
                return {}
        if not predictions:
            self._logger.warning("[COCOEvaluator] Did not receive valid predictions.")
            return {}
        if self._output_dir:
            PathManager.mkdirs(self._output_dir)
            with self._open_output("instances_predictions.pth", "wb") as f:
                torch.save(predictions, f)

        self._results = OrderedDict()
        self._eval_predictions(predictions, img_ids=img_ids)
        return copy.deepcopy(self._results)

    def _open_output(self, name, mode):
        return PathManager.open(os.path.join(self._output_dir, name), mode)

    def _tasks_from_predictions(self, predictions):
        fields = {"segmentation": "segm", "keypoints": "keypoints"}
        found = {task for name, task in fields.items() if any(name in p for p in predictions)}
        return sorted({"bbox"} | found)

    def _eval_predictions(self, predictions, img_ids=None):
        """Score instances into ``self._results``."""
        results = list(itertools.chain.from_iterable(p["instances"] for p in predictions))
        tasks = self._tasks or self._tasks_from_predictions(results)
        if hasattr(self._metadata, "thing_dataset_id_to_contiguous_id"):
            self._restore_category_ids(results)
        if self._output_dir:
            with self._open_output("coco_instances_results.json", "w") as f:
                f.write(json.dumps(results))  # much faster than json.dump
        if not self._do_evaluation:
            self._logger.info("Annotations are not available for evaluation.")
            return

        for task in sorted(tasks):
            assert task in _METRICS, f"unknown task {task!r}, known: {list(_METRICS)}"
            coco_eval = None  # stays so for empty results, which pycocotools cannot load
            if results:
                coco_eval = _evaluate_predictions_on_coco(
                    self._coco_api,
                    results,
                    task,
                    kpt_oks_sigmas=self._kpt_oks_sigmas,
                    cocoeval_fn=COCOeval_opt if self._use_fast_impl else COCOeval,
                    img_ids=img_ids,
                    max_dets_per_image=self._max_dets_per_image,
                )
            self._results[task] = self._derive_coco_results(
                coco_eval, task, class_names=self._metadata.get("thing_classes")
            )

    def _restore_category_ids(self, results):
        """Replace contiguous class ids by the dataset's."""
        to_contiguous = self._metadata.thing_dataset_id_to_contiguous_id
        num_classes = len(to_contiguous)
        to_dataset = {v: k for k, v in to_contiguous.items()}
        assert set(to_dataset) == set(range(num_classes)), (
            f"thing ids must map onto 0..{num_classes - 1}, not {sorted(to_dataset)}"
        )
        for result in results:
            predicted = result["category_id"]
            assert predicted < num_classes, (
                f"a prediction has class {predicted}, but the dataset has {num_classes} classes:"
                f" predicted class ids must be in [0, {num_classes - 1}]"
            )
            result["category_id"] = to_dataset[predicted]

    def _derive_coco_results(self, coco_eval, iou_type, class_names=None):
        """Read the scores off a summarised COCOeval.

        Args:
            coco_eval: None when there are no predictions, which scores nan.
            iou_type: the task.
            class_names: if several, adds "AP-name" for each.
        """
        metrics = _METRICS[iou_type]
        if coco_eval is None:
            self._logger.warning("No predictions from the model!")
            return dict.fromkeys(metrics, float("nan"))

        scores = {
            metric: float(stat * 100) if stat >= 0 else float("nan")
            for metric, stat in zip(metrics, coco_eval.stats)
        }
        table = create_small_table(scores)
        self._logger.info(f"Evaluation results for {iou_type}: \n{table}")
        if not np.isfinite(list(scores.values())).all():
            self._logger.info("Some metrics cannot be computed and is shown as NaN.")
        if class_names is None or len(class_names) <= 1:
            return scores

        # precision is [IoU, recall, class, area range, limit]; all areas, the highest limit
        precision = coco_eval.eval["precision"][..., 0, -1]
        assert len(class_names) == precision.shape[2], (len(class_names), precision.shape)
        per_class = {}
        for index, name in enumerate(class_names):
            valid = precision[:, :, index][precision[:, :, index] > -1]
            per_class[name] = float(valid.mean() * 100) if valid.size else float("nan")
        self._logger.info(f"Per-category {iou_type} AP: \n{_table_of(per_class)}")
        scores.update((f"AP-{name}", value) for name, value in per_class.items())
        return scores


def instances_to_coco_json(instances, img_id):
    """Return predictions on the CPU as a list of COCO result dicts, masks as RLE.

    Args:
        instances: with pred_boxes, scores, pred_classes, and perhaps pred_masks and
            pred_keypoints.
        img_id: the image's id.
    """
    if len(instances) == 0:
        return []
    boxes = instances.pred_boxes.tensor.numpy()
    columns = {
        "category_id": instances.pred_classes.tolist(),
        "bbox": BoxMode.convert(boxes, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS).tolist(),
        "score": instances.scores.tolist(),
    }
    if instances.has("pred_masks"):
        columns["segmentation"] = [_to_rle(mask) for mask in instances.pred_masks]
    if instances.has("pred_keypoints"):
        # COCO's keypoints are pixel indices, the model's are coordinates.
        keypoints = instances.pred_keypoints.clone()
        keypoints[..., :2] -= 0.5
        columns["keypoints"] = keypoints.flatten(1).tolist()
    return [{"image_id": img_id, **dict(zip(columns, values))} for values in zip(*columns.values())]


def _to_rle(mask):
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    rle["counts"] = rle["counts"].decode("utf-8")  # JSON takes no bytes
    return rle


def _evaluate_predictions_on_coco(
    coco_gt,
    coco_results,
    iou_type,
    kpt_oks_sigmas=None,
    cocoeval_fn=COCOeval_opt,
    img_ids=None,
    max_dets_per_image=None,
):
    """Run COCOeval and return it, summarised."""
    assert len(coco_results) > 0
    if iou_type == "segm":
        # With a box at hand, pycocotools would take the box's area for the object's.
        coco_results = [{k: v for k, v in r.items() if k != "bbox"} for r in coco_results]
    limits = _DEFAULT_MAX_DETS if max_dets_per_image is None else max_dets_per_image
    assert len(limits) >= 3, f"three limits of detections are needed, not {limits}"
    if limits[2] != _DEFAULT_MAX_DETS[2]:
        cocoeval_fn = COCOevalMaxDets

    coco_dt = coco_gt.loadRes(coco_results)
    coco_eval = cocoeval_fn(coco_gt, coco_dt, iou_type)
    if img_ids is not None:
        coco_eval.params.imgIds = img_ids
    if iou_type == "keypoints":
        _set_keypoint_sigmas(coco_eval, coco_gt, coco_results, kpt_oks_sigmas)
    else:
        coco_eval.params.maxDets = limits
    coco_eval.evaluate()
    coco_eval.accumulate()
    coco_eval.summarize()
    return coco_eval


def _set_keypoint_sigmas(coco_eval, coco_gt, coco_results, sigmas):
    if sigmas:
        coco_eval.params.kpt_oks_sigmas = np.array(sigmas)
    counts = {
        "predictions": len(coco_results[0]["keypoints"]) // 3,
        "ground truth": len(next(iter(coco_gt.anns.values()))["keypoints"]) // 3,
        "TEST.KEYPOINT_OKS_SIGMAS": len(coco_eval.params.kpt_oks_sigmas),
    }
    assert len(set(counts.values())) == 1, f"numbers of keypoints must agree: {counts}"


class COCOevalMaxDets(COCOeval):
    """COCOeval whose AP is at ``params.maxDets[2]`` detections instead of always 100."""

    def summarize(self):
        if not self.eval:
            raise Exception("Please run accumulate() first")
        if self.params.iouType == "keypoints":
            super().summarize()
            return
        few, some, most = self.params.maxDets[:3]
        precision, recall = self.eval["precision"], self.eval["recall"]
        rows = [
            self._mean(precision, most),
            self._mean(precision, most, iou=0.5),
            self._mean(precision, most, iou=0.75),
            *(self._mean(precision, most, area=area) for area in ("small", "medium", "large")),
            *(self._mean(recall, limit) for limit in (few, some, most)),
            *(self._mean(recall, most, area=area) for area in ("small", "medium", "large")),
        ]
        self.stats = np.array(rows)

    def _mean(self, values, limit, iou=None, area="all"):
        """Average the defined entries of ``values`` [IoU, ..., area range, limit]; -1 if none."""
        values = values[..., self.params.areaRngLbl.index(area), self.params.maxDets.index(limit)]
        if iou is not None:
            values = values[np.isclose(self.params.iouThrs, iou)]
        defined = values[values > -1]
        return defined.mean() if defined.size else -1.0


def _table_of(scores):
    """Lay out {name: score} in up to three pairs of columns."""
    cells = list(itertools.chain.from_iterable(scores.items()))
    width = min(6, len(cells))
    rows = [cells[start : start + width] for start in range(0, len(cells), width)]
    return tabulate(
        rows,
        headers=["category", "AP"] * (width // 2),
        tablefmt="pipe",
        floatfmt=".3f",
        numalign="left",
    )
