"""Cityscapes' own evaluation of semantic and instance segmentation, by cityscapesscripts."""

from __future__ import annotations

import contextlib
import glob
import importlib
import logging
import os
import tempfile
from collections import OrderedDict
from unittest import mock

import numpy as np
import torch
from PIL import Image

from detectron2.data import MetadataCatalog
from detectron2.evaluation.evaluator import DatasetEvaluator
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager


class CityscapesEvaluator(DatasetEvaluator):
    """Base: predictions of all ranks of one machine go to one temporary folder.

    Args:
        dataset_name: a dataset with gt_dir (and for instances thing_classes) metadata.
    """

    def __init__(self, dataset_name):
        self._metadata = MetadataCatalog.get(dataset_name)
        self._cpu_device = torch.device("cpu")
        self._logger = logging.getLogger(__name__)

    def reset(self):
        assert comm.get_local_size() == comm.get_world_size(), (
            f"{type(self).__name__} works on one machine only: its ranks share a folder"
        )
        self._working_dir = tempfile.TemporaryDirectory(prefix="cityscapes_eval_")
        self._temp_dir = comm.all_gather(self._working_dir.name)[0]
        if self._temp_dir != self._working_dir.name:
            self._working_dir.cleanup()
        self._logger.info(f"Writing cityscapes results to temporary directory {self._temp_dir} ...")

    def _prediction_path(self, image, suffix):
        stem = os.path.splitext(os.path.basename(image["file_name"]))[0]
        return os.path.join(self._temp_dir, stem + suffix)

    def _prepare_api(self, name):
        """Return an evaluation script of cityscapesscripts, set to read our folder."""
        api = _cityscapes_module(f"evaluation.{name}")
        self._logger.info(f"Evaluating results under {self._temp_dir} ...")
        api.args.predictionPath = os.path.abspath(self._temp_dir)
        api.args.predictionWalk = None
        api.args.JSONOutput = False
        api.args.colorized = False
        return api

    def _ground_truth_files(self, ending):
        folder = PathManager.get_local_path(self._metadata.gt_dir)
        pattern = os.path.join(folder, "*", "*" + ending)
        files = glob.glob(pattern)
        assert files, f"no ground truth images match {pattern}"
        return files


class CityscapesInstanceEvaluator(CityscapesEvaluator):
    """AP and AP50 of "instances" outputs; must run on every rank of one machine."""

    def process(self, inputs, outputs):
        name2label = _cityscapes_module("helpers.labels").name2label
        for image, output in zip(inputs, outputs):
            lines = []
            if "instances" in output:
                instances = output["instances"].to(self._cpu_device)
                for index in range(len(instances)):
                    name = self._metadata.thing_classes[instances.pred_classes[index]]
                    mask_path = self._prediction_path(image, f"_{index}_{name}.png")
                    mask = np.asarray(instances.pred_masks[index]).astype(np.uint8)
                    Image.fromarray(mask * 255).save(mask_path)
                    score = float(instances.scores[index])
                    lines.append(f"{os.path.basename(mask_path)} {name2label[name].id} {score}\n")
            # An image without predictions needs its file too.
            with open(self._prediction_path(image, "_pred.txt"), "w") as f:
                f.writelines(lines)

    def evaluate(self):
        """Return {"segm": {"AP", "AP50"}} in percent, None on other than the main rank."""
        comm.synchronize()
        if comm.get_rank() > 0:
            return None
        api = self._prepare_api("evalInstanceLevelSemanticLabeling")
        api.args.gtInstancesFile = os.path.join(self._temp_dir, "gtInstances.json")
        gt_files = self._ground_truth_files("_gtFine_instanceIds.png")
        predictions = [api.getPrediction(path, api.args) for path in gt_files]
        with _running(api):
            scores = api.evaluateImgLists(predictions, gt_files, api.args)["averages"]
        self._working_dir.cleanup()
        return OrderedDict(segm={"AP": scores["allAp"] * 100, "AP50": scores["allAp50%"] * 100})


class CityscapesSemSegEvaluator(CityscapesEvaluator):
    """IoU of "sem_seg" outputs; must run on every rank of one machine."""

    def process(self, inputs, outputs):
        labels = _cityscapes_module("helpers.labels").trainId2label
        train_id_to_id = np.full(256, 255, dtype=np.uint8)
        for train_id, label in labels.items():
            if not label.ignoreInEval:
                train_id_to_id[train_id] = label.id
        for image, output in zip(inputs, outputs):
            train_ids = output["sem_seg"].argmax(dim=0).to(self._cpu_device).numpy()  # [H, W]
            path = self._prediction_path(image, "_pred.png")
            Image.fromarray(train_id_to_id[train_ids]).save(path)

    def evaluate(self):
        """Return {"sem_seg": {"IoU", "iIoU", "IoU_sup", "iIoU_sup"}} in percent, or None."""
        comm.synchronize()
        if comm.get_rank() > 0:
            return None
        api = self._prepare_api("evalPixelLevelSemanticLabeling")
        gt_files = self._ground_truth_files("_gtFine_labelIds.png")
        predictions = [api.getPrediction(api.args, path) for path in gt_files]
        with _running(api):
            scores = api.evaluateImgLists(predictions, gt_files, api.args)
        self._working_dir.cleanup()
        keys = {
            "IoU": "averageScoreClasses",
            "iIoU": "averageScoreInstClasses",
            "IoU_sup": "averageScoreCategories",
            "iIoU_sup": "averageScoreInstCategories",
        }
        return OrderedDict(sem_seg={ours: 100.0 * scores[theirs] for ours, theirs in keys.items()})


@contextlib.contextmanager
def _running(script):
    """Let a script of cityscapesscripts 2.3 run on current numpy, without leaving files behind.

    It calls ``np.in1d``, which numpy 2.4 dropped, and dumps its matches into the working
    directory as JSON, which fails on numpy integers.
    """
    with contextlib.ExitStack() as patches:
        if not hasattr(np, "in1d"):
            patches.enter_context(mock.patch.object(np, "in1d", np.isin, create=True))
        patches.enter_context(mock.patch.object(script, "writeDict2JSON"))
        yield


def _cityscapes_module(name):
    try:
        return importlib.import_module(f"cityscapesscripts.{name}")
    except ImportError as error:
        raise ImportError(
            f"Cityscapes evaluation needs `pip install cityscapesscripts` ({error})"
        ) from error
