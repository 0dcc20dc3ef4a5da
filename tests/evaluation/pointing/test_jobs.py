"""Jobs that point at objects: evaluation, training with evaluations, several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from processes import Processes
from scripted_system import Pixels, ScriptedSystem, answers, code, region
from tiny_systems import tiny_sam
from torch import nn

from detectron2.modeling import META_ARCH_REGISTRY
from freeseg.data import build_test_loader
from freeseg.engine import Trainer, evaluate
from freeseg.evaluation import build_evaluators
from freeseg.evaluation.pointing import ObjectPointing, pointing_settings
from freeseg.inference import PhotoInput
from freeseg.structures import SegmentationResult, Takes, Task
from freeseg.systems import SegmentationSystem

SIZE = (30, 40)
OBJECT = region(SIZE, (5, 15), (5, 25))
OTHER = region(SIZE, (18, 28), (10, 30))
KINDS = ["clicks", "boxes", "proposals"]


class Disc(SegmentationSystem):
    """Everything within a learned distance of its first click, or of the middle of its box."""

    answers: ClassVar = {Task.OBJECT: Takes(frozenset({"points", "boxes", "everything"}))}

    def __init__(self, cfg):
        super().__init__(photo_input=PhotoInput(), tasks=(Task.OBJECT,))
        self.radius = nn.Parameter(torch.tensor(2.0))

    def encode(self, prepared):
        return Pixels(prepared.frames, prepared.pixels)

    def answer(self, features, requests):
        return [SegmentationResult(objects=self._discs(request.prompt)) for request in requests]

    def losses(self, samples):
        assert samples
        return {"loss_radius": (self.radius - 6).square()}

    def _discs(self, prompt):
        if prompt.everything is not None:
            centres = torch.tensor([[15.0, 10.0], [20.0, 23.0]])
        elif prompt.marks.points.shape[1]:
            centres = prompt.marks.points[:, 0]
        else:
            centres = prompt.marks.boxes.view(-1, 2, 2).mean(1)
        y, x = (torch.arange(side) + 0.5 for side in SIZE)
        distance = torch.hypot(
            x - centres[:, 0, None, None], y[:, None] - centres[:, 1, None, None]
        )
        return answers(list(distance < self.radius))


@pytest.fixture
def disc():
    META_ARCH_REGISTRY._do_register("Disc", Disc)
    yield "Disc"
    del META_ARCH_REGISTRY._obj_map["Disc"]


def disc_overlap(radius: float, mask: torch.Tensor) -> float:
    """Of a disc around the middle of a rectangle, whose pixels are counted one by one."""
    rows, columns = mask.nonzero().unbind(1)
    top, left = int(rows.min()), int(columns.min())
    bottom, right = int(rows.max()) + 1, int(columns.max()) + 1
    centre = (top + bottom) / 2, (left + right) / 2
    inside = torch.zeros_like(mask)
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            inside[y, x] = (y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2 < radius**2
    return float((inside & mask).sum() / (inside | mask).sum())


def test_an_evaluation_reports_all_kinds(drawn, sam_cfg, disc):
    name = drawn([(OBJECT, 0), (OTHER, 1)])
    cfg = sam_cfg(name, KINDS=KINDS, MAX_CLICKS=2)
    cfg.MODEL.META_ARCHITECTURE = disc
    results = evaluate(cfg, resume=False)
    assert list(results) == KINDS
    expected = 50 * (disc_overlap(2, OBJECT) + disc_overlap(2, OTHER))
    assert results["boxes"]["mIoU"] == pytest.approx(expected)
    folder = Path(cfg.OUTPUT_DIR)
    assert json.loads((folder / "results.json").read_text())[name]["clicks"]["NoC@90"] == 2
    table = (folder / "results.md").read_text()
    assert "mIoU@1 | oracle@1 | mIoU@5 | NoC@85 | NoC@90" in table
    assert "AR@1000" in table
    assert "masks in given boxes" in table


def test_a_training_is_evaluated_and_keeps_the_best_model(drawn, sam_cfg, disc):
    """Trained on other classes than it is evaluated on; it has no list of classes."""
    train, test = drawn([(OBJECT, 0)], classes=["cat"]), drawn([(OTHER, 0)], classes=["dog"])
    cfg = sam_cfg(test)
    cfg.MODEL.META_ARCHITECTURE = disc
    cfg.DATASETS.TRAIN, cfg.TEST.BEST_METRIC = (train,), "boxes/mIoU"
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.DATASET_MAPPER_NAME = (30,), "mask_former_instance"
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR = 1, 2, 1.0
    cfg.SOLVER.WARMUP_ITERS = 0
    cfg.TEST.EVAL_PERIOD = 1
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    results = trainer.train()
    radius = float(trainer.model.radius)
    assert radius > 2.5
    assert results["boxes"]["mIoU"] == pytest.approx(100 * disc_overlap(radius, OTHER))
    folder = Path(cfg.OUTPUT_DIR)
    rows = [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]
    assert {"clicks/mIoU@1", "clicks/NoC@90", "boxes/AP"} <= {key for row in rows for key in row}
    assert json.loads((folder / "model_best.json").read_text())["metric"] == "boxes/mIoU"
    assert trainer.model.training
    assert not (folder / "classes.json").exists()
    assert "classes" not in torch.load(folder / "model_final.pth", weights_only=False)


def test_sam_is_evaluated_on_any_coco_json(drawn, sam_cfg):
    name = drawn([(OBJECT, 0)], [(OTHER, 1), (OBJECT, 1)])
    cfg = sam_cfg(name, KINDS=KINDS, POINTS_PER_SIDE=2, BOX_ROUNDS=2, MAX_CLICKS=3)
    cfg.INPUT.TEST_RESIZE.LONG_SIDE = 128
    results = Trainer.test(cfg, tiny_sam(1))
    assert results["clicks"]["objects"] == results["boxes"]["objects"] == 3
    assert 0 <= results["clicks"]["mIoU@1"] <= results["clicks"]["oracle@1"] <= 100


def test_ignored_pixels_of_a_record_are_not_judged(drawn, sam_cfg):
    ignored = region(SIZE, (5, 15), (15, 25))
    found = region(SIZE, (5, 15), (5, 15))
    name = drawn([(OBJECT, 0)], ignored_pixels=code(ignored))
    system = ScriptedSystem(lambda prompt: answers([found]))
    results = Trainer.test(sam_cfg(name, KINDS=["clicks"]), system)
    assert results["clicks"]["mIoU@1"] == 100


def test_processes_count_together(drawn, sam_cfg, disc, monkeypatch):
    """Unequal shares, one of them empty."""
    name = drawn([(OBJECT, 0)], [(OTHER, 1), (OBJECT, 1)], [(OTHER, 0)])
    cfg = sam_cfg(name, KINDS=KINDS, MAX_CLICKS=3)
    model = ObjectPointing(Disc(cfg), pointing_settings(cfg)).eval()
    loader = list(build_test_loader(cfg, name, truth_task="instance"))

    def run(share):
        found = {}
        for evaluator in build_evaluators(cfg, name):
            evaluator.reset()
            for batch in share:
                evaluator.process(batch, model(batch))
            found.update(evaluator.evaluate() or {})
        return found

    with torch.no_grad():
        expected = run(loader)
        processes = Processes(monkeypatch, 3)
        shares = [loader[:2], [], loader[2:]]

        def process(share):
            with torch.no_grad():
                return run(share)

        first, *others = processes.run([lambda share=share: process(share) for share in shares])
    assert others == [{}, {}]
    for kind in KINDS:
        assert first[kind] == pytest.approx(expected[kind], nan_ok=True)
