"""Which systems and datasets are evaluated by pointing, and what is refused."""

from __future__ import annotations

import pytest
import torch
from scripted_system import ScriptedSystem, answers, region
from small_inputs import three_classes

from freeseg.classes import fixed_vocabulary, knows_classes, trained_vocabulary
from freeseg.engine import Trainer
from freeseg.engine.dataset_checks import check_datasets
from freeseg.evaluation import best_metric, build_evaluators, require_known_metric, truth_task
from freeseg.evaluation.pointing import (
    BoxEvaluator,
    ClickEvaluator,
    ObjectPointing,
    PointingSettings,
    ProposalEvaluator,
    listed_objects,
    pointing_settings,
)

SIZE = (30, 40)
OBJECT = region(SIZE, (5, 15), (5, 25))


def test_a_system_without_classes_takes_datasets_of_any(drawn, sam_cfg):
    cats, dogs = drawn([(OBJECT, 0)], classes=["cat"]), drawn([(OBJECT, 0)], classes=["dog"])
    cfg = sam_cfg(dogs)
    cfg.DATASETS.TRAIN = (cats,)
    assert not knows_classes(cfg)
    assert trained_vocabulary(cfg) is None
    assert fixed_vocabulary(cfg) is None
    assert truth_task(cfg, dogs) == "instance"
    check_datasets(cfg)
    assert truth_task(cfg, "bsds_packed") == ""
    (inputs,) = Trainer.build_test_loader(cfg, dogs)
    assert torch.equal(inputs[0]["instances"].gt_masks.tensor[0], OBJECT)


def test_a_system_with_classes_is_evaluated_as_ever():
    cfg = three_classes("Base-Mask2Former-small.yaml")
    assert knows_classes(cfg)
    assert pointing_settings(cfg) is None
    assert truth_task(cfg, "shapes_val_panoptic") == ""


def test_evaluators_are_those_of_the_kinds(drawn, sam_cfg):
    name = drawn([(OBJECT, 0)])
    kinds = ["proposals", "boxes", "clicks"]
    found = build_evaluators(sam_cfg(name, KINDS=kinds, MAX_CLICKS=7), name)
    assert list(map(type, found)) == [ProposalEvaluator, BoxEvaluator, ClickEvaluator]
    assert found[2].max_clicks == 7


def test_keys_become_settings(sam_cfg):
    cfg = sam_cfg(KINDS=["boxes"], BOX_ROUNDS=2, BOX_ZOOM=True, OBJECTS_AT_ONCE=3, MAX_CLICKS=4)
    node = cfg.TEST.POINTING
    node.POINTS_PER_SIDE, node.MIN_QUALITY, node.MIN_STABILITY, node.MAX_OVERLAP = 5, 0.1, 0.2, 0.3
    found = pointing_settings(cfg)
    assert (found.kinds, found.box_rounds, found.objects_at_once) == (("boxes",), 2, 3)
    assert found.max_clicks == 4
    assert found.box_zoom
    everything = found.everything
    assert (everything.points_per_side, everything.min_quality) == (5, 0.1)
    assert (everything.min_stability, everything.max_overlap) == (0.2, 0.3)
    assert pointing_settings(sam_cfg()) == PointingSettings()


@pytest.mark.parametrize(
    ("pointing", "message"),
    [
        ({"KINDS": ["strokes"]}, "selection of clicks, boxes, proposals, got strokes"),
        ({"KINDS": []}, "selection of clicks, boxes, proposals, got nothing"),
        ({"MAX_CLICKS": 0}, "max_clicks must be from 1 on, got 0"),
        ({"BOX_ROUNDS": 0}, "box_rounds must be from 1 on"),
        ({"OBJECTS_AT_ONCE": 0}, "objects_at_once must be from 1 on"),
        ({"POINTS_PER_SIDE": 0}, "points_per_side must be a whole number from 1 on"),
    ],
)
def test_settings_that_say_nothing_are_refused(drawn, sam_cfg, pointing, message):
    name = drawn([(OBJECT, 0)])
    with pytest.raises(ValueError, match=message):
        check_datasets(sam_cfg(name, **pointing))


@pytest.mark.parametrize(
    ("key", "value"), [("AUG.ENABLED", True), ("AUG.IS_SLIDE", True), ("VIS_PERIOD", 10)]
)
def test_what_only_classes_give_is_refused(sam_cfg, key, value):
    cfg = sam_cfg()
    cfg.merge_from_list([f"TEST.{key}", value])
    with pytest.raises(ValueError, match=f"TEST.{key} is about results of classes, and SAM knows"):
        pointing_settings(cfg)


@pytest.mark.parametrize(
    ("needs", "may", "settings", "message"),
    [
        (["boxes"], [], {}, "ScriptedSystem takes boxes, not points"),
        (["points"], [], {}, "takes points, not boxes"),
        (["points"], [], {"kinds": ("proposals",)}, "takes points, not everything"),
        (["boxes"], [], {"kinds": ("boxes",), "box_rounds": 2}, "takes boxes, not logits"),
        (["boxes"], [], {"kinds": ("boxes",), "box_zoom": True}, "takes boxes, not masks"),
    ],
)
def test_systems_that_lack_a_kind_of_prompt_are_refused(needs, may, settings, message):
    system = ScriptedSystem(lambda prompt: answers([OBJECT]), needs, may)
    with pytest.raises(ValueError, match=message):
        ObjectPointing(system, PointingSettings(**settings))


def test_systems_without_prompts_are_refused():
    model = Trainer.build_model(three_classes("Base-Mask2Former-small.yaml"))
    with pytest.raises(ValueError, match="Mask2Former answers semantic, instance, panoptic: it "):
        ObjectPointing(model)
    with pytest.raises(ValueError, match="Linear answers no prompts"):
        ObjectPointing(torch.nn.Linear(1, 1))


def test_datasets_without_objects_are_refused(loader, drawn, sam_cfg):
    maps = loader([{"file_name": "a.png", "sem_seg_file_name": "b.png"}], stuff_classes=["sky"])
    with pytest.raises(ValueError, match="has semantic annotation: there are no objects to point"):
        build_evaluators(sam_cfg(maps), maps)


def test_metrics_that_choose_the_best_model(drawn, sam_cfg):
    name = drawn([(OBJECT, 0)])
    for kinds, expected in (
        (["clicks", "boxes"], "clicks/mIoU@1"),
        (["boxes"], "boxes/mIoU"),
        (["proposals"], "proposals/AR@1000"),
    ):
        cfg = sam_cfg(name, KINDS=kinds)
        assert best_metric(cfg) == expected
        require_known_metric(cfg)
    cfg.TEST.POINTING.KINDS = ["clicks", "boxes", "proposals"]
    for metric in ("clicks/oracle@1", "clicks/mIoU@9", "boxes/APs", "proposals/ARl@100"):
        cfg.TEST.BEST_METRIC = metric
        require_known_metric(cfg)
    cfg.TEST.BEST_METRIC = "clicks/NoC@90"
    with pytest.raises(ValueError, match=r"of which less is better: .* such as clicks/mIoU@1"):
        require_known_metric(cfg)
    cfg.TEST.BEST_METRIC = "sem_seg/mIoU"
    with pytest.raises(ValueError, match="it gives clicks/mIoU@1, clicks/mIoU@2"):
        require_known_metric(cfg)


def test_listed_objects_are_things_with_masks_that_are_no_crowds():
    mask = [[0, 0, 4, 0, 4, 4]]
    objects = [
        {"category_id": 0, "segmentation": mask},
        {"category_id": 0, "segmentation": mask, "iscrowd": 1},
        {"category_id": 0, "bbox": [0, 0, 1, 1]},
    ]
    segments = [
        {"id": 1, "isthing": True},
        {"id": 2, "isthing": False},
        {"id": 3, "isthing": True, "iscrowd": 1},
    ]
    assert listed_objects([{"annotations": objects}]) == 1
    assert listed_objects([{"pan_seg_file_name": "a.png", "segments_info": segments}]) == 1
    assert listed_objects([{"sem_seg_file_name": "a.png"}]) == 0
