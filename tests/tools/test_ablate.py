"""Every row of every study is a configuration that differs from the others."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from freeseg import add_freeseg_config
from freeseg.config import default_tasks
from freeseg.data import SegmentationMapper
from freeseg.engine.ablation import read_metric
from freeseg.evaluation.pointing import BoxedObjects, BoxEvaluator, ClickedObjects, ClickEvaluator
from freeseg.structures import JUDGED_TASKS

TOOL = Path(__file__).resolve().parents[2] / "tools" / "ablate.py"
STUDIES = runpy.run_path(str(TOOL))["STUDIES"]


def configurations(study):
    for variant in study.variants:
        cfg = get_cfg()
        add_freeseg_config(cfg)
        cfg.merge_from_file(str(variant.config or study.config))
        cfg.merge_from_list(list(variant.options))
        yield variant, cfg


@pytest.mark.parametrize("name", list(STUDIES))
def test_rows_are_configurations_of_their_own(name):
    study = STUDIES[name]()
    rows = list(configurations(study))
    assert len({variant.folder for variant, _ in rows}) == len(rows)
    assert len({variant.name for variant, _ in rows}) == len(rows)
    dumps = {cfg.dump() for variant, cfg in rows if not variant.prompts.endswith("no_task")}
    assert len(dumps) == sum(not variant.prompts.endswith("no_task") for variant, _ in rows)
    assert study.prompt_stages.keys() >= {variant.prompts for variant, _ in rows} - {""}


MULTI_TASK = ["freeseg", "oneformer", "oneformer_camvid"]


def test_every_study_has_one_task_or_all():
    assert set(STUDIES) == {*MULTI_TASK, "lseg", "sam", "seggpt"}
    folders = {variant.folder for variant in STUDIES["lseg"]().variants}
    assert folders.isdisjoint(JUDGED_TASKS), "LSeg has one task alone"


@pytest.mark.parametrize("name", MULTI_TASK)
def test_a_single_task_is_trained_and_evaluated_alone(name):
    rows = {variant.folder: cfg for variant, cfg in configurations(STUDIES[name]())}
    for task in JUDGED_TASKS:
        assert list(default_tasks(rows[task])) == [task]
        drawn = SegmentationMapper.from_config(rows[task])["task_probabilities"]
        is_drawn_alone = drawn == tuple(float(task == each) for each in JUDGED_TASKS)
        assert is_drawn_alone or [f"{task} segmentation."] == rows[task].INPUT.TASK_NAME
    assert list(default_tasks(rows[next(iter(rows))])) == list(JUDGED_TASKS)


def test_sam_is_compared_with_one_mask_and_with_its_plain_decoder():
    rows = {variant.folder: cfg.MODEL.SAM for variant, cfg in configurations(STUDIES["sam"]())}
    settings = [(row.MANY_PROMPTS, row.PROMPT_MAPS, row.POINT_CONTENT) for row in rows.values()]
    assert settings == [(3, True, True), (0, True, True), (3, False, False)]


def test_columns_of_sam_are_results_of_its_evaluations():
    clicks, boxes = ClickEvaluator(), BoxEvaluator(NoPrecision())
    overlaps = torch.tensor([[0.5] * 4 + [0.9] * 16], dtype=torch.float64)
    clicked = ClickedObjects(overlaps, torch.tensor([0.7], dtype=torch.float64))
    clicks.process([{}], [{"clicks": clicked}])
    boxed = BoxedObjects(Instances((8, 8)), torch.tensor([0.6]), torch.tensor([9]))
    boxes.process([{}], [{"boxes": boxed}])
    results = {"shapes": {**clicks.evaluate(), **boxes.evaluate()}}
    found = {each.name: read_metric(results, each) for each in STUDIES["sam"]().metrics}
    assert found == pytest.approx(
        {
            **{"mIoU@1": 50, "oracle@1": 70, "mIoU@2": 50, "mIoU@3": 50, "mIoU@5": 90},
            **{"mIoU@9": 90, "NoC@85": 5, "mIoU in boxes": 60},
        }
    )


class NoPrecision(DatasetEvaluator):
    """Stands for AP."""

    def reset(self):
        pass

    def process(self, inputs, outputs):
        pass

    def evaluate(self):
        return {"segm": {}}
