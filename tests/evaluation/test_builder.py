from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks
from freeseg.data.datasets.catalog import PanopticFiles, register_panoptic
from freeseg.data.panoptic import id2rgb, rgb2id
from freeseg.data.shapes import categories
from freeseg.evaluation import build_evaluators
from freeseg.evaluation.instance import ThingEvaluator
from freeseg.evaluation.panoptic_evaluator import PanopticEvaluator
from freeseg.evaluation.seen_unseen import SeenUnseenPanopticEvaluator
from freeseg.evaluation.semantic import SemanticEvaluator


def headline(results) -> dict[str, float]:
    pairs = [("sem_seg", "mIoU"), ("segm", "AP"), ("segm", "AP50")]
    pairs += [("panoptic_seg", name) for name in ("PQ", "SQ", "RQ")]
    return {f"{task}/{name}": results[task][name] for task, name in pairs if task in results}


PERFECT = {
    "sem_seg/mIoU": 100,
    "segm/AP": 100,
    "segm/AP50": 100,
    "panoptic_seg/PQ": 100,
    "panoptic_seg/SQ": 100,
    "panoptic_seg/RQ": 100,
}


def test_the_annotation_itself_is_perfect(evaluate, shapes):
    assert headline(evaluate(shapes)) == pytest.approx(PERFECT)


def test_real_panoptic_samples_are_perfect(evaluate, samples):
    assert headline(evaluate(samples[0])) == pytest.approx(PERFECT)


def test_real_instances_are_perfect(evaluate, samples):
    expected = {"segm/AP": 100, "segm/AP50": 100}
    assert headline(evaluate(samples[1])) == pytest.approx(expected)


# known corruptions against other ways to compute the same number


def swap_classes(outputs) -> None:
    """Two classes exchanged everywhere: a semantic map and segments with known errors."""
    scores = outputs["sem_seg"]
    scores[[48, 49]] = scores[[49, 48]]
    for segment in outputs["panoptic_seg"][1]:
        segment["category_id"] = {48: 49, 49: 48}.get(
            segment["category_id"], segment["category_id"]
        )


def test_swapped_stuff_classes_cost_what_brute_force_says(evaluate, shapes):
    results = evaluate(shapes, swap_classes)
    intersection, union = np.zeros(53), np.zeros(53)
    for record in DatasetCatalog.get(shapes):
        truth = np.array(Image.open(record["sem_seg_file_name"]))
        guess = truth.copy()
        guess[truth == 48], guess[truth == 49] = 49, 48
        for label in range(53):
            intersection[label] += ((truth == label) & (guess == label)).sum()
            union[label] += ((truth == label) | (guess == label)).sum()
    present = union > 0
    expected = 100 * np.mean(intersection[present] / union[present])
    assert results["sem_seg"]["mIoU"] == pytest.approx(expected)
    stuff = {
        row["category_id"]
        for record in DatasetCatalog.get(shapes)
        for row in record["segments_info"]
        if not row["isthing"]
    }
    lost = len(stuff & {48, 49})
    assert lost == 2
    assert results["panoptic_seg"]["PQ_th"] == pytest.approx(100)
    assert results["panoptic_seg"]["PQ_st"] == pytest.approx(100 * (1 - lost / len(stuff)))


def shrink(outputs) -> None:
    """Every thing loses its upper half; a thing too flat to halve is left out."""
    ids, segments = outputs["panoptic_seg"]
    for segment in segments:
        if segment["isthing"]:
            rows = torch.nonzero(ids == segment["id"])[:, 0]
            middle = int((rows.min() + rows.max() + 1) // 2)
            ids[:middle][ids[:middle] == segment["id"]] = 0
    masks = outputs["instances"].pred_masks.clone()
    for mask in masks:
        rows = torch.nonzero(mask)[:, 0]
        mask[: int((rows.min() + rows.max() + 1) // 2)] = False
    outputs["instances"].pred_masks = masks


def test_halved_things_agree_with_panopticapi(evaluate, shapes, cfg, tmp_path):
    evaluation = pytest.importorskip("panopticapi.evaluation")
    results = evaluate(shapes, shrink)["panoptic_seg"]
    metadata = MetadataCatalog.get(shapes)
    folder = tmp_path / "predictions"
    folder.mkdir()
    content = json.loads(Path(metadata.panoptic_json).read_text())
    for record, annotation in zip(DatasetCatalog.get(shapes), content["annotations"]):
        ids = rgb2id(np.array(Image.open(record["pan_seg_file_name"])))
        outputs = {
            "panoptic_seg": (torch.from_numpy(ids), copy.deepcopy(record["segments_info"])),
            "instances": Nothing(),
        }
        shrink(outputs)
        Image.fromarray(id2rgb(ids)).save(folder / annotation["file_name"])
        left = set(np.unique(ids).tolist())
        rows = [row for row in annotation["segments_info"] if row["id"] in left]
        annotation["segments_info"] = [{**row, "iscrowd": 0} for row in rows]
    (tmp_path / "predictions.json").write_text(json.dumps(content))
    expected = evaluation.pq_compute(
        metadata.panoptic_json,
        str(tmp_path / "predictions.json"),
        gt_folder=metadata.panoptic_root,
        pred_folder=str(folder),
    )
    assert results["PQ"] == pytest.approx(100 * expected["All"]["pq"])
    assert results["SQ_th"] == pytest.approx(100 * expected["Things"]["sq"])
    assert results["PQ"] < 99


class Nothing:
    pred_masks = torch.zeros(0, 1, 1, dtype=torch.bool)


def test_halved_things_agree_with_pycocotools(evaluate, shapes):
    results = evaluate(shapes, shrink)["segm"]
    average, at_half, *_ = judge_halves(shapes, MetadataCatalog.get(shapes).json_file, "segm")
    assert results["AP"] == pytest.approx(average)
    assert results["AP50"] == pytest.approx(at_half)
    assert results["AP"] < 60


def judge_halves(dataset: str, truth_file: str, kind: str) -> list[float]:
    """COCO's statistics, in percent, of the dataset's halved things, against any file of truth."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, whole = COCO(truth_file), COCO(MetadataCatalog.get(dataset).json_file)
    detections = []
    for image_id in whole.getImgIds():
        rows = whole.loadAnns(whole.getAnnIds(image_id))
        for row, score in zip(rows, np.linspace(1.0, 0.5, len(rows))):
            mask = whole.annToMask(row)
            occupied = np.nonzero(mask)[0]
            mask[: (occupied.min() + occupied.max() + 1) // 2] = 0
            if mask.any():
                detections.append(
                    {
                        "image_id": image_id,
                        "category_id": row["category_id"],
                        "segmentation": encode(mask),
                        "score": score,
                    }
                )
    judge = COCOeval(truth, truth.loadRes(detections), kind)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return [100 * number for number in judge.stats]


def encode(mask) -> dict:
    from pycocotools import mask as codec

    return codec.encode(np.asfortranarray(mask))


def shrink_boxes(outputs) -> None:
    shrink(outputs)
    instances = outputs["instances"]
    instances.pred_boxes = BitMasks(instances.pred_masks).get_bounding_boxes()


def test_boxes_around_the_masks_are_judged_when_asked(evaluate, shapes, cfg):
    assert "bbox" not in evaluate(shapes, shrink_boxes)
    cfg.MODEL.SEM_SEG_HEAD.NAME = "OneFormerHead"
    cfg.MODEL.TEST.INSTANCE_ON = cfg.MODEL.TEST.DETECTION_ON = True
    results = evaluate(shapes, shrink_boxes)
    truth = MetadataCatalog.get(shapes).json_file
    for task in ("bbox", "segm"):
        average, _, strict, *_ = judge_halves(shapes, truth, task)
        found = {name: results[task][name] for name in ("AP", "AP75")}
        assert found == pytest.approx({"AP": average, "AP75": strict})
    assert 0 < results["bbox"]["AP"] < 60


def test_instances_are_judged_by_their_own_and_by_the_panoptic_annotation(
    evaluate, shapes, cfg, tmp_path, monkeypatch
):
    """The two of COCO differ; here the own one lacks the first object of every image."""
    assert DatasetCatalog.get(shapes)  # is generated when it is first asked for
    metadata = MetadataCatalog.get(shapes)
    complete = metadata.json_file
    content = json.loads(Path(complete).read_text())
    first = {row["image_id"]: row for row in reversed(content["annotations"])}
    content["annotations"] = [row for row in content["annotations"] if row not in first.values()]
    own = tmp_path / "own.json"
    own.write_text(json.dumps(content))
    monkeypatch.setitem(vars(metadata), "json_file", str(own))
    cfg.TEST.PANOPTIC_INSTANCES = True
    results = evaluate(shapes, shrink)
    monkeypatch.undo()
    expected = {
        "segm": judge_halves(shapes, str(own), "segm")[0],
        "segm_panoptic": judge_halves(shapes, complete, "segm")[0],
    }
    assert {task: results[task]["AP"] for task in expected} == pytest.approx(expected)
    assert abs(expected["segm"] - expected["segm_panoptic"]) > 1
    assert results["segm_panoptic"]["AP_seen"] != results["segm"]["AP_seen"]


def test_nothing_predicted_is_worth_nothing(evaluate, shapes):
    def clear(outputs) -> None:
        outputs["panoptic_seg"][0].zero_()
        outputs["panoptic_seg"][1].clear()
        outputs["instances"] = outputs["instances"][:0]

    results = evaluate(shapes, clear)
    assert results["panoptic_seg"]["PQ"] == 0
    assert not results["segm"]["AP"] > 0  # 0 or, as Detectron2 says without predictions, nan


# class numbers


@pytest.fixture
def interleaved(tmp_path):
    """A panoptic set like ADE20K: things 1 and 3 among five classes, no semantic PNG or JSON."""
    table = [
        row.__class__(index * 10, row.name, index in (1, 3), row.color)
        for index, row in enumerate(categories()[:5])
    ]
    ids = np.zeros((40, 40), dtype=np.int32)
    ids[:20], ids[20:], ids[5:15, 5:15], ids[25:35, 5:20], ids[25:30, 30:38] = 1, 2, 3, 4, 5
    classes = {1: 0, 2: 20, 3: 10, 4: 30, 5: 30}
    segments = [
        {
            "id": number,
            "category_id": category,
            "iscrowd": int(number == 5),
            "area": int((ids == number).sum()),
            "bbox": [0, 0, 40, 40],
        }
        for number, category in classes.items()
    ]
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "ids").mkdir()
    Image.fromarray(id2rgb(ids)).save(tmp_path / "ids" / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 40, "width": 40}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [row.to_json() for row in table],
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    files = PanopticFiles(tmp_path, tmp_path / "ids", tmp_path / "set.json")
    register_panoptic("interleaved", files, table, "ade20k_panoptic_seg")
    yield "interleaved"
    DatasetCatalog.remove("interleaved")
    MetadataCatalog.remove("interleaved")


def test_things_may_be_anywhere_among_the_classes(evaluate, interleaved):
    """Also: truth for AP and mIoU comes from the panoptic PNG, and the crowd is no target."""
    assert headline(evaluate(interleaved)) == pytest.approx(PERFECT)


def test_a_prediction_of_the_wrong_thing_class_is_wrong(evaluate, interleaved):
    def swap(outputs) -> None:
        labels = outputs["instances"].pred_classes
        outputs["instances"].pred_classes = torch.where(labels == 1, 3, 1)

    assert evaluate(interleaved, swap)["segm"]["AP"] == pytest.approx(0)


def test_predictions_of_stuff_are_no_instances(evaluate, interleaved):
    def add_stuff(outputs) -> None:
        instances = outputs["instances"]
        stuff = copy.deepcopy(instances)
        stuff.pred_classes = torch.tensor([0, 4])
        stuff.scores = torch.ones(2)
        outputs["instances"] = instances.cat([stuff, instances])

    assert evaluate(interleaved, add_stuff)["segm"]["AP"] == pytest.approx(100)


# choice of evaluators


def kinds(evaluators) -> list[type]:
    """What was built, or what is wrapped in it."""
    return [type(getattr(evaluator, "evaluator", evaluator)) for evaluator in evaluators]


def test_tasks_that_are_on_choose_the_evaluators(cfg, shapes):
    assert kinds(build_evaluators(cfg, shapes)) == [
        SemanticEvaluator,
        ThingEvaluator,
        SeenUnseenPanopticEvaluator,
    ]
    cfg.MODEL.MASK_FORMER.TEST.SEMANTIC_ON = False
    cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = False
    assert kinds(build_evaluators(cfg, shapes)) == [SeenUnseenPanopticEvaluator]
    cfg.TEST.SEEN_UNSEEN = False
    assert kinds(build_evaluators(cfg, shapes)) == [PanopticEvaluator]


def test_classes_that_are_all_seen_need_no_split(cfg, samples):
    assert kinds(build_evaluators(cfg, samples[0]))[-1] is PanopticEvaluator


def test_nothing_to_evaluate_is_an_error(cfg, samples):
    cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = False
    with pytest.raises(ValueError, match=r"can evaluate instance, but .* has only semantic, pan"):
        build_evaluators(cfg, samples[1])


def test_an_unknown_kind_of_dataset_lists_the_known_ones(cfg):
    MetadataCatalog.get("evaluated_voc").set(evaluator_type="pascal_voc")
    with pytest.raises(NotImplementedError, match="'pascal_voc'; known types are coco_p"):
        build_evaluators(cfg, "evaluated_voc")
