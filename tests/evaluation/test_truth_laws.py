"""Class numbers, ids and void of a truth, and what evaluators take of it at the limits."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.structures import Boxes, Instances
from freeseg.catalog import dataset_metadata
from freeseg.data.annotation_files import read_class_map
from freeseg.data.records import dataset_records
from freeseg.evaluation import build_evaluators
from freeseg.evaluation.instance import ThingEvaluator
from freeseg.evaluation.truth import Truth

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import write_ids


@pytest.fixture
def trained_on(cfg, loader):
    """Names the classes of the model; ids are unlike their numbers."""

    def train(names, first_id=900):
        ids = {first_id + 3 * label: label for label in range(len(names))}
        cfg.DATASETS.TRAIN = (loader([], stuff_classes=list(names), **both(ids)),)

    return train


def both(ids, things=None) -> dict:
    chosen = {id_: label for id_, label in ids.items() if things is None or label in things}
    return {"stuff_dataset_id_to_contiguous_id": ids, "thing_dataset_id_to_contiguous_id": chosen}


def class_map(folder: Path, labels) -> dict:
    Image.fromarray(np.zeros((*np.shape(labels), 3), np.uint8)).save(folder / "photo.png")
    Image.fromarray(np.array(labels, np.uint8)).save(folder / "labels.png")
    names = {"file_name": "photo.png", "sem_seg_file_name": "labels.png"}
    return {key: str(folder / name) for key, name in names.items()}


def test_other_spellings_in_the_same_order_are_the_models_own_numbers(
    cfg, loader, trained_on, tmp_path
):
    trained_on(["road", "traffic light", "sky"])
    record = class_map(tmp_path, [[0, 1, 2, 255]])
    ids = {31: 0, 7: 1, 15: 2}
    listed = ["Road", "traffic_light", "SKY"]
    name = loader([record], stuff_classes=listed, **both(ids, {1}), ignore_label=255)
    truth = Truth.of(cfg, name)
    assert truth.vocabulary.names == ("road", "traffic light", "sky")
    assert truth.category_ids == (31, 7, 15)
    assert (truth.things, truth.is_listed) == ([1], (True, True, True))
    assert (truth.name, truth.ignore_label, truth.is_renumbered) == (name, 255, False)
    assert truth.records == dataset_records(name)
    assert truth.metadata() is dataset_metadata(name)


def test_classes_that_a_set_does_not_list_have_no_id(cfg, loader, trained_on, tmp_path):
    trained_on(["road", "car", "sky", "dog"])
    record = class_map(tmp_path, [[1, 0, 1, 255], [0, 0, 255, 1]])
    flags = {"trainable_flag": [0, 1]}
    name = loader(
        [record],
        stuff_classes=["sky", "car"],
        **both({40: 0, 3: 1}, {1}),
        **flags,
        ignore_label=255,
    )
    truth = Truth.of(cfg, name)
    assert truth.category_ids == (None, 3, 40, None)
    assert truth.is_listed == (False, True, True, False)
    assert (truth.things, truth.is_renumbered) == ([1], True)
    assert truth.vocabulary.is_seen == (True, True, False, True)
    found = read_class_map(truth.records[0], truth.ignore_label)
    void = truth.ignore_label
    assert found.tolist() == [[1, 2, 1, void], [2, 2, void, 1]]
    drawn = truth.metadata()
    assert drawn.stuff_classes == ["road", "car", "sky", "dog"]
    assert drawn.ignore_label == void
    assert drawn.name != name


def test_void_is_no_class_however_many_there_are(cfg, loader, trained_on, tmp_path):
    names = [f"class {number}" for number in range(300)]
    trained_on(names)
    record = class_map(tmp_path, [[0, 1, 255]])
    listed = [names[255], names[299]]
    name = loader([record], stuff_classes=listed, **both({8: 0, 2: 1}), ignore_label=255)
    truth = Truth.of(cfg, name)
    assert truth.ignore_label >= len(names)
    found = read_class_map(truth.records[0], truth.ignore_label)
    assert found.tolist() == [[255, 299, truth.ignore_label]]


def nobody(size) -> Instances:
    return Instances(
        size,
        pred_masks=torch.zeros(0, *size) > 0,
        pred_boxes=Boxes(torch.zeros(0, 4)),
        pred_classes=torch.zeros(0, dtype=torch.int64),
        scores=torch.zeros(0),
    )


@pytest.mark.parametrize("kind", ["panoptic", "objects"])
def test_a_set_without_an_object_can_be_evaluated(cfg, loader, tmp_path, kind):
    write_ids(tmp_path / "ids.png", np.full((5, 9), 3))
    Image.new("RGB", (9, 5)).save(tmp_path / "photo.png")
    record = {"file_name": str(tmp_path / "photo.png"), "image_id": 4}
    more = {
        "panoptic": {
            "pan_seg_file_name": str(tmp_path / "ids.png"),
            "segments_info": [{"id": 3, "category_id": 0}],
        },
        "objects": {"annotations": []},
    }[kind]
    name = loader([{**record, **more}], stuff_classes=["felt", "nut"], **both({5: 0, 2: 1}, {1}))
    cfg.DATASETS.TRAIN = (name,)
    (evaluator,) = [one for one in build_evaluators(cfg, name) if isinstance(one, ThingEvaluator)]
    evaluator.reset()
    evaluator.process([record], [{"instances": nobody((5, 9))}])
    assert math.isnan(evaluator.evaluate()["segm"]["AP"])


def test_predictions_of_numbers_that_are_no_things_are_left_out(cfg, loader, tmp_path):
    """Also below 0, beyond the last thing, and beyond the classes."""
    labels = torch.tensor([2, -1, 0, 3, 1, 7, 2])
    record = {"file_name": str(tmp_path / "a.png"), "image_id": 9, "height": 4, "width": 6}
    record["annotations"] = []
    names = ["felt", "nut", "bolt", "bench"]
    ids = {50: 0, 41: 1, 6: 2, 3: 3}
    name = loader([record], stuff_classes=names, **both(ids, {1, 2}), evaluator_type="coco")
    cfg.DATASETS.TRAIN = (name,)
    (evaluator,) = build_evaluators(cfg, name, tmp_path / "results")
    evaluator.reset()
    masks = torch.zeros(7, 4, 6, dtype=torch.bool)
    for number, mask in enumerate(masks):
        mask[1, : number - 1] = mask[2, 0] = True
    found = Instances(
        (4, 6),
        pred_masks=masks,
        pred_boxes=Boxes(torch.ones(7, 4)),
        pred_classes=labels,
        scores=torch.linspace(0.9, 0.3, 7),
    )
    evaluator.process([record], [{"instances": found}])
    (photo,) = evaluator._predictions
    assert photo["image_id"] == 9
    rows = [(row["category_id"], round(row["score"], 3)) for row in photo["instances"]]
    assert rows == [(1, 0.9), (0, 0.5), (1, 0.3)], "numbers among the things"
    assert labels.tolist() == [2, -1, 0, 3, 1, 7, 2], "the model's own stay as they are"


@pytest.mark.parametrize(("limit", "counted"), [(30, 100), (100, 100), (101, 101)])
def test_both_evaluators_of_instances_count_what_may_be_found(cfg, shapes, limit, counted):
    """COCO's 100, or more where the model may find more."""
    cfg.TEST.DETECTIONS_PER_IMAGE, cfg.TEST.PANOPTIC_INSTANCES = limit, True
    cfg.TEST.SEEN_UNSEEN = False
    found = [one for one in build_evaluators(cfg, shapes) if isinstance(one, ThingEvaluator)]
    assert [one._max_dets_per_image for one in found] == [[1, 10, counted]] * 2


def test_panoptic_results_without_segments_are_refused_where_classes_are_split(cfg, shapes):
    cfg.MODEL.MASK_FORMER.TEST.SEMANTIC_ON = cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = False
    (evaluator,) = build_evaluators(cfg, shapes)
    evaluator.reset()
    (record, *_) = dataset_records(shapes)
    with pytest.raises(ValueError, match="seen and unseen classes need panoptic results with"):
        evaluator.process([record], [{"panoptic_seg": (torch.zeros(64, 64), None)}])


@pytest.mark.parametrize(("limit", "is_said"), [(2, True), (3, False)])
def test_a_photo_with_more_objects_than_count_is_said(
    cfg, loader, tmp_path, caplog, limit, is_said
):
    records = []
    for number, count in enumerate((1, 3, 2)):
        box = [[1, 1, 4, 1, 4, 3, 1, 3]]
        rows = [{"category_id": 0, "segmentation": box} for _ in range(count)]
        record = {"file_name": str(tmp_path / f"{number}.png"), "height": 5, "width": 8}
        records.append({**record, "annotations": rows})
    name = loader(records, thing_classes=["nut"])
    cfg.DATASETS.TRAIN = (name,)
    with caplog.at_level("WARNING"):
        ThingEvaluator(Truth.of(cfg, name), tmp_path / "results", limit=limit)
    said = [record.args[1:] for record in caplog.records if "AP counts" in record.message]
    assert said == ([(3, 2, 3)] if is_said else [])
