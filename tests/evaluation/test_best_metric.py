from __future__ import annotations

import pytest

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from freeseg import add_freeseg_config
from freeseg.evaluation import best_metric, require_known_metric

KINDS = {
    "all": "coco_panoptic_seg",
    "things": "coco",
    "maps": "sem_seg",
    "own": "their_own_evaluator",
}


@pytest.fixture
def configured():
    """A configuration with tasks on, test sets of `KINDS` and a metric."""
    for name, kind in KINDS.items():
        MetadataCatalog.get(f"best_{name}").evaluator_type = kind

    def make(tasks, sets, metric="auto"):
        cfg = get_cfg()
        add_freeseg_config(cfg)
        test = cfg.MODEL.MASK_FORMER.TEST
        test.SEMANTIC_ON, test.INSTANCE_ON, test.PANOPTIC_ON = (task in tasks for task in "sip")
        cfg.DATASETS.TEST = tuple(f"best_{name}" for name in sets)
        cfg.TEST.BEST_METRIC = metric
        return cfg

    yield make
    for name in KINDS:
        MetadataCatalog.remove(f"best_{name}")


@pytest.mark.parametrize(
    ("tasks", "sets", "expected"),
    [
        ("sip", ["all"], "panoptic_seg/PQ"),
        ("si", ["all"], "segm/AP"),
        ("s", ["all"], "sem_seg/mIoU"),
        ("sip", ["things"], "segm/AP"),
        ("sip", ["maps"], "sem_seg/mIoU"),
        ("sp", ["things"], ""),  # nothing that it judges is on
        ("sip", ["own"], ""),
        ("sip", [], ""),
        ("sip", ["things", "all"], "best_things/segm/AP"),
        ("ip", ["maps", "all"], ""),  # the first decides
    ],
)
def test_auto_is_the_first_task_that_is_judged_and_on(configured, tasks, sets, expected):
    cfg = configured(tasks, sets)
    assert best_metric(cfg) == expected
    require_known_metric(cfg)


@pytest.mark.parametrize(
    ("sets", "metric", "expected"),
    [
        (["all"], "", ""),
        (["all"], "segm/AP50", "segm/AP50"),
        (["all"], "best_all/segm/AP50", "segm/AP50"),
        (["maps", "all"], "sem_seg/mIoU", "best_maps/sem_seg/mIoU"),
        (["maps", "all"], "best_all/panoptic_seg/PQ_th", "best_all/panoptic_seg/PQ_th"),
        (["all"], "sem_seg/IoU-cat", "sem_seg/IoU-cat"),
        (["all"], "sem_seg/hIoU", "sem_seg/hIoU"),
        (["all"], "panoptic_seg/PQ_unseen", "panoptic_seg/PQ_unseen"),
        (["all"], "segm_cityscapes/AP", "segm_cityscapes/AP"),
        (["own"], "mine/score", "mine/score"),
    ],
)
def test_a_metric_may_be_named(configured, sets, metric, expected):
    cfg = configured("sip", sets, metric)
    assert best_metric(cfg) == expected
    require_known_metric(cfg)


@pytest.mark.parametrize(
    ("tasks", "sets", "metric", "known"),
    [
        ("sip", ["things"], "panoptic_seg/PQ", "best_things gives it; it gives segm/AP, segm/AP50"),
        ("s", ["all"], "segm/AP", "it gives sem_seg/mIoU, sem_seg/fwIoU"),
        ("sip", ["maps", "all"], "panoptic_seg/PQ", "no evaluation of best_maps"),
        ("sip", ["all"], "panoptic_seg/pq", "it gives panoptic_seg/PQ"),
        ("sip", ["all"], "bbox/AP", "it gives"),
        ("sip", ["all"], "mIoU", "sem_seg/mIoU"),
    ],
)
def test_a_metric_that_nothing_gives_is_refused(configured, tasks, sets, metric, known):
    with pytest.raises(ValueError, match=f"TEST.BEST_METRIC is {metric}: .*{known}"):
        require_known_metric(configured(tasks, sets, metric))


def test_boxes_are_known_where_they_are_evaluated(configured):
    cfg = configured("sip", ["all"], "bbox/AP75")
    cfg.MODEL.SEM_SEG_HEAD.NAME = "OneFormerHead"
    cfg.MODEL.TEST.INSTANCE_ON = cfg.MODEL.TEST.DETECTION_ON = True
    require_known_metric(cfg)
    cfg.TEST.BEST_METRIC = "segm_panoptic/AP"
    with pytest.raises(ValueError, match="segm_panoptic/AP"):
        require_known_metric(cfg)
    cfg.TEST.PANOPTIC_INSTANCES = True
    require_known_metric(cfg)
