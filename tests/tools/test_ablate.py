"""Every row of every study is a configuration that differs from the others."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from detectron2.config import get_cfg
from freeseg import add_freeseg_config
from freeseg.config import default_tasks
from freeseg.data import SegmentationMapper
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
    assert set(STUDIES) == {*MULTI_TASK, "lseg"}
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
