"""A "model" that answers with the ground truth, and evaluation of it on registered datasets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.structures import BitMasks, Instances
from freeseg.catalog import dataset_metadata, kept
from freeseg.config import add_freeseg_config
from freeseg.data import SegmentationMapper, register_custom
from freeseg.data.datasets.shapes import register_split
from freeseg.data.shapes import ShapesSplit
from freeseg.evaluation import build_evaluators

Corruption = Callable[[dict[str, Any]], None]


class GroundTruthModel:
    """Returns a dataset's own annotation in all three forms, each changed by `corrupt` if given."""

    def __init__(self, dataset_name: str, corrupt: Corruption | None = None) -> None:
        self.metadata = dataset_metadata(dataset_name)
        self.records = {row["file_name"]: row for row in kept(dataset_name).load()}
        self.corrupt = corrupt

    def __call__(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self.predict(self.records[row["file_name"]]) for row in inputs]

    def predict(self, record: dict[str, Any]) -> dict[str, Any]:
        outputs = {
            "sem_seg": self.semantic(record),
            "instances": self.instances(record),
            "panoptic_seg": self.panoptic(record),
        }
        if self.corrupt:
            self.corrupt(outputs)
        return outputs

    def semantic(self, record: dict[str, Any]) -> torch.Tensor:
        targets = self._targets(record, "semantic")
        scores = torch.zeros(len(self.metadata.stuff_classes), *targets.image_size)
        scores[targets.gt_classes] = targets.gt_masks.tensor.float()
        return scores

    def instances(self, record: dict[str, Any]) -> Instances:
        targets = self._targets(record, "instance")
        masks = targets.gt_masks.tensor
        return Instances(
            targets.image_size,
            pred_masks=masks,
            pred_boxes=BitMasks(masks).get_bounding_boxes(),
            pred_classes=targets.gt_classes,
            scores=torch.linspace(1.0, 0.5, len(masks)),
        )

    def panoptic(self, record: dict[str, Any]) -> tuple[torch.Tensor, list[dict[str, Any]]]:
        targets = self._targets(record, "panoptic")
        things = set(self.metadata.thing_dataset_id_to_contiguous_id.values())
        ids = torch.zeros(targets.image_size, dtype=torch.int32)
        segments = []
        for mask, label in zip(targets.gt_masks.tensor, targets.gt_classes.tolist()):
            segments.append(
                {"id": len(segments) + 1, "isthing": label in things, "category_id": label}
            )
            ids[mask] = len(segments)
        return ids, segments

    def _targets(self, record: dict[str, Any], task: str) -> Instances:
        mapper = SegmentationMapper(augmentations=[], image_format="RGB", task=task)
        return mapper(record)["instances"]


@pytest.fixture
def ground_truth():
    return GroundTruthModel


@pytest.fixture
def cfg(tmp_path):
    config = get_cfg()
    add_freeseg_config(config)
    config.OUTPUT_DIR = str(tmp_path / "output")
    test = config.MODEL.MASK_FORMER.TEST
    test.SEMANTIC_ON = test.INSTANCE_ON = test.PANOPTIC_ON = True
    return config


@pytest.fixture
def evaluate(cfg):
    """Evaluates the ground truth of a dataset, after a corruption, like inference_on_dataset."""

    def run(dataset_name: str, corrupt: Corruption | None = None) -> dict[str, Any]:
        model = GroundTruthModel(dataset_name, corrupt)
        evaluators = build_evaluators(cfg, dataset_name)
        for evaluator in evaluators:
            evaluator.reset()
        for record in model.records.values():
            inputs = [{"file_name": record["file_name"], "image_id": record["image_id"]}]
            outputs = model(inputs)
            for evaluator in evaluators:
                evaluator.process(inputs, outputs)
        results: dict[str, Any] = {}
        for evaluator in evaluators:
            results.update(evaluator.evaluate())
        return results

    return run


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """Name of a registered Shapes split of six images."""
    folder = tmp_path_factory.mktemp("evaluation") / "tiny"
    register_split("evaluated_shapes", folder, ShapesSplit("tiny", 6, seed=6, side=64))
    return "evaluated_shapes"


@pytest.fixture(scope="session")
def samples():
    """Names of the real COCO panoptic samples and of fruits_nuts, registered by DATASETS.CUSTOM."""
    default = Path(__file__).resolve().parents[2] / "../shared"
    folder = Path(os.environ.get("FREESEG_SHARED", default)) / "data"
    if not folder.is_dir():
        pytest.skip(f"no sample data: {folder} does not exist")
    sample, fruits = folder / "coco_panoptic_sample", folder / "fruits_nuts"
    rows = [
        [
            "evaluated_sample",
            str(sample / "panoptic_examples.json"),
            str(sample / "input_images"),
            str(sample / "panoptic_examples"),
        ],
        ["evaluated_fruits", str(fruits / "trainval.json"), str(fruits / "images"), ""],
    ]
    register_custom(rows)
    return [row[0] for row in rows]
