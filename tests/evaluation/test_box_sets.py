"""Sets of boxes without masks: what of them is learned and judged, by which system."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detectron2.structures import Boxes, Instances
from freeseg.classes import evaluated_tasks, has_masks
from freeseg.data.datasets.custom import register_custom
from freeseg.data.problems import Problems
from freeseg.data.records import dataset_records
from freeseg.engine.dataset_checks import check_all
from freeseg.evaluation import best_metric, build_evaluators

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_inputs import three_classes
from tiny_systems import tiny_grounding_dino_config

NAME = "boxes_without_masks"
BOXES = {"cat": [[2.0, 3, 20, 30], [30, 5, 50, 25]], "dog": [[10, 8, 60, 39]]}


@pytest.fixture
def boxes(tmp_path):
    """A COCO JSON whose objects have a bbox and no segmentation."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60, 3), 90, np.uint8))
    rows = []
    for number, given in enumerate(BOXES.values(), start=1):
        for left, top, right, bottom in given:
            box = [left, top, right - left, bottom - top]
            rows.append({"id": len(rows) + 1, "image_id": 7, "category_id": number, "bbox": box})
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60}],
        "annotations": rows,
        "categories": [{"id": n, "name": name} for n, name in enumerate(BOXES, start=1)],
    }
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))
    row = [f"{NAME}_{tmp_path.name}", str(file), str(tmp_path), ""]
    register_custom([row])
    return row


def problems_of(cfg, row) -> list[str]:
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = [row], (row[0],), (row[0],)
    problems = Problems()
    check_all(cfg, problems)
    return problems.errors


def test_a_system_of_boxes_learns_and_judges_them(boxes):
    cfg = tiny_grounding_dino_config(["INPUT.DATASET_MAPPER_NAME", "boxes"])
    assert not has_masks(cfg)
    assert problems_of(cfg, boxes) == []


def test_a_system_of_masks_has_nothing_left(boxes):
    cfg = three_classes("Base-Mask2Former-small.yaml")
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2
    cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = True
    assert has_masks(cfg)
    assert any("have no mask (segmentation)" in line for line in problems_of(cfg, boxes))


def test_a_mapper_of_masks_finds_none_even_for_a_system_of_boxes(boxes):
    cfg = tiny_grounding_dino_config(["INPUT.DATASET_MAPPER_NAME", "coco_unified_lsj"])
    assert any("have no mask (segmentation)" in line for line in problems_of(cfg, boxes))


@pytest.mark.parametrize(("shift", "least", "most"), [(0.0, 99.9, 100.0), (9.0, 0.0, 60.0)])
def test_their_precision_is_of_boxes(boxes, tmp_path, shift, least, most):
    cfg = tiny_grounding_dino_config()
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TEST = [boxes], (boxes[0],)
    cfg.DATASETS.TRAIN = (boxes[0],)
    assert evaluated_tasks(cfg) == ("instance",)
    (evaluator,) = build_evaluators(cfg, boxes[0], tmp_path / "out")
    evaluator.reset()
    found = Instances((40, 60))
    given = torch.tensor([box for each in BOXES.values() for box in each])
    found.pred_boxes = Boxes(given + torch.tensor([shift, 0, shift, 0]))
    found.pred_classes = torch.tensor([0, 0, 1])
    found.scores = torch.tensor([0.9, 0.8, 0.7])
    evaluator.process(dataset_records(boxes[0]), [{"instances": found}])
    results = evaluator.evaluate()
    assert set(results) == {"bbox"}
    assert least <= results["bbox"]["AP"] <= most


def test_the_best_checkpoint_is_that_of_the_best_boxes(boxes):
    cfg = tiny_grounding_dino_config()
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TEST = [boxes], (boxes[0],)
    assert best_metric(cfg).endswith("bbox/AP")
