"""Cityscapes evaluators: they need the official scripts, and agree with perfect predictions."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.evaluation import CityscapesInstanceEvaluator, CityscapesSemSegEvaluator
from detectron2.evaluation import cityscapes_evaluation as module
from detectron2.structures import Instances

HAS_SCRIPTS = importlib.util.find_spec("cityscapesscripts") is not None
IS_OURS = hasattr(module, "_cityscapes_module")
needs_scripts = pytest.mark.skipif(
    not (HAS_SCRIPTS and IS_OURS),
    reason="needs cityscapesscripts (which upstream's main imports from elsewhere)",
)
ROAD, CAR = 7, 26  # label ids; road is train id 0, car 13


@pytest.mark.parametrize(
    "evaluator_class", [CityscapesInstanceEvaluator, CityscapesSemSegEvaluator]
)
def test_without_the_scripts_the_import_fails(evaluator_class, register, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cityscapesscripts.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cityscapesscripts", None)
    evaluator = evaluator_class(register(gt_dir="nowhere", thing_classes=["car"]))
    evaluator.reset()
    with pytest.raises(ImportError):
        evaluator.process([], [])


@pytest.fixture
def street(tmp_path, register):
    """One image: a road with two cars on it."""
    instance_ids = np.full((256, 512), ROAD, dtype=np.int32)
    instance_ids[25:100, 50:175] = CAR * 1000
    instance_ids[125:225, 225:400] = CAR * 1000 + 1
    label_ids = np.where(instance_ids >= 1000, CAR, instance_ids).astype(np.uint8)
    city = tmp_path / "aachen"
    city.mkdir()
    stem = "aachen_000000_000019"
    Image.fromarray(instance_ids.astype(np.uint16)).save(city / f"{stem}_gtFine_instanceIds.png")
    Image.fromarray(label_ids).save(city / f"{stem}_gtFine_labelIds.png")
    name = register(gt_dir=str(tmp_path), thing_classes=["person", "car"])
    return name, {"file_name": f"{stem}_leftImg8bit.png"}, instance_ids


@needs_scripts
def test_perfect_instances(street):
    name, image, instance_ids = street
    instances = Instances(instance_ids.shape)
    masks = [instance_ids == CAR * 1000, instance_ids == CAR * 1000 + 1]
    instances.pred_masks = torch.as_tensor(np.stack(masks))
    instances.pred_classes = torch.tensor([1, 1])
    instances.scores = torch.tensor([0.9, 0.8])
    evaluator = CityscapesInstanceEvaluator(name)
    evaluator.reset()
    evaluator.process([image], [{"instances": instances}])
    assert evaluator.evaluate() == {"segm": pytest.approx({"AP": 100, "AP50": 100})}


@needs_scripts
def test_perfect_labels(street):
    name, image, instance_ids = street
    scores = torch.zeros(19, *instance_ids.shape)
    scores[0] = torch.as_tensor(instance_ids == ROAD).float()
    scores[13] = 1 - scores[0]
    evaluator = CityscapesSemSegEvaluator(name)
    evaluator.reset()
    evaluator.process([image], [{"sem_seg": scores}])
    result = evaluator.evaluate()["sem_seg"]
    assert list(result) == ["IoU", "iIoU", "IoU_sup", "iIoU_sup"]
    assert result["IoU"] == pytest.approx(100)
