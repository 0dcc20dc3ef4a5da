"""COCOEvaluator against pycocotools called directly, and against exact cases."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detectron2.evaluation import COCOEvaluator
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.evaluation.fast_eval_api import COCOeval_opt
from detectron2.structures import Boxes, BoxMode, Instances

SIZE = (120, 160)
CATEGORY_IDS = {3: 0, 7: 1, 20: 2}
NAMES = ["cat", "dog", "owl"]
BOX_KEYS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]


def rectangle_mask(box):
    mask = np.zeros(SIZE, dtype=np.uint8)
    x0, y0, x1, y1 = np.round(box).astype(int)
    mask[y0:y1, x0:x1] = 1
    return mask


def random_boxes(rng, count):
    corner = rng.uniform(0, [SIZE[1] - 60, SIZE[0] - 60], (count, 2))
    return np.concatenate([corner, corner + rng.uniform(5, 60, (count, 2))], axis=1)


def make_annotations(rng, num_images=4, per_image=6, with_keypoints=0):
    annotations = []
    for image_id in range(num_images):
        for box in random_boxes(rng, per_image):
            x0, y0, x1, y1 = box.tolist()
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": int(rng.choice(list(CATEGORY_IDS))),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
            }
            if with_keypoints:
                points = rng.uniform([x0, y0, 2], [x1, y1, 2], (with_keypoints, 3))
                annotation["keypoints"] = points.ravel().tolist()
                annotation["num_keypoints"] = with_keypoints
            annotations.append(annotation)
    return annotations


def write_json(path, annotations, num_images=4):
    content = {
        "images": [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(num_images)],
        "categories": [{"id": i, "name": n} for i, n in zip(CATEGORY_IDS, NAMES)],
    }
    if annotations is not None:
        content["annotations"] = annotations
    path.write_text(json.dumps(content))
    return str(path)


def to_instances(boxes, classes, scores, with_masks=True):
    instances = Instances(SIZE)
    instances.pred_boxes = Boxes(torch.as_tensor(np.asarray(boxes).reshape(-1, 4)))
    instances.pred_classes = torch.as_tensor(classes)
    instances.scores = torch.as_tensor(scores)
    if with_masks:
        masks = [rectangle_mask(box) for box in boxes] or np.zeros((0, *SIZE))
        instances.pred_masks = torch.as_tensor(np.stack(masks) if len(masks) else masks).bool()
    return instances


def noisy_predictions(rng, annotations, num_images=4):
    """About the true boxes, some shifted, some of another class, and some from nowhere."""
    predictions = {}
    for image_id in range(num_images):
        mine = [a for a in annotations if a["image_id"] == image_id]
        boxes = np.array([a["bbox"] for a in mine]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = np.concatenate([boxes + rng.normal(0, 3, boxes.shape), random_boxes(rng, 3)])
        boxes = boxes.clip(0, [SIZE[1], SIZE[0]] * 2)
        classes = [CATEGORY_IDS[a["category_id"]] for a in mine] + [0, 1, 2]
        wrong = rng.random(len(classes)) < 0.2
        classes = np.where(wrong, rng.integers(0, 3, len(classes)), classes)
        predictions[image_id] = to_instances(boxes, classes, rng.random(len(classes)))
    return predictions


def evaluate(evaluator, predictions, **kwargs):
    evaluator.reset()
    for image_id, instances in predictions.items():
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluator.evaluate(**kwargs)


def with_pycocotools(json_file, results, task, prepare=lambda params: None):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(json_file)
        if task == "segm":
            results = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
        scoring = COCOeval(truth, truth.loadRes(results), task)
        prepare(scoring.params)
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    return scoring


@pytest.fixture
def noisy(tmp_path, register):
    rng = np.random.default_rng(0)
    annotations = make_annotations(rng)
    json_file = write_json(tmp_path / "gt.json", annotations)
    name = register(
        json_file=json_file, thing_classes=NAMES, thing_dataset_id_to_contiguous_id=CATEGORY_IDS
    )
    return name, json_file, noisy_predictions(rng, annotations)


@pytest.mark.parametrize("use_fast_impl", [True, False])
def test_scores_equal_pycocotools(noisy, tmp_path, use_fast_impl):
    name, json_file, predictions = noisy
    output_dir = tmp_path / "out"
    evaluator = COCOEvaluator(name, output_dir=str(output_dir), use_fast_impl=use_fast_impl)
    scores = evaluate(evaluator, predictions)
    assert set(scores) == {"bbox", "segm"}
    results = json.loads((output_dir / "coco_instances_results.json").read_text())
    assert {r["category_id"] for r in results} <= set(CATEGORY_IDS)
    for task in scores:
        expected = with_pycocotools(json_file, results, task)
        assert list(scores[task]) == BOX_KEYS + [f"AP-{n}" for n in NAMES]
        for key, stat in zip(BOX_KEYS, expected.stats):
            wanted = 100 * stat if stat >= 0 else float("nan")
            assert scores[task][key] == pytest.approx(wanted, nan_ok=True), (task, key)
        for index, class_name in enumerate(NAMES):
            precision = expected.eval["precision"][:, :, index, 0, -1]
            wanted = 100 * precision[precision > -1].mean()
            assert scores[task][f"AP-{class_name}"] == pytest.approx(wanted)
        assert 5 < scores[task]["AP"] < 95


def test_perfect_prediction_scores_100(tmp_path, register):
    rng = np.random.default_rng(1)
    annotations = make_annotations(rng, num_images=2, per_image=4)
    for a in annotations:  # whole pixels, so that masks and polygons agree
        x, y, w, h = (int(v) for v in a["bbox"])
        a["bbox"] = [x, y, w, h]
        a["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    json_file = write_json(tmp_path / "gt.json", annotations, 2)
    name = register(
        json_file=json_file, thing_classes=NAMES, thing_dataset_id_to_contiguous_id=CATEGORY_IDS
    )
    predictions = {}
    for image_id in range(2):
        mine = [a for a in annotations if a["image_id"] == image_id]
        boxes = [[a["bbox"][0], a["bbox"][1], *np.add(a["bbox"][:2], a["bbox"][2:])] for a in mine]
        classes = [CATEGORY_IDS[a["category_id"]] for a in mine]
        predictions[image_id] = to_instances(np.array(boxes, float), classes, [0.9] * len(mine))
    scores = evaluate(COCOEvaluator(name), predictions)
    assert scores["bbox"]["AP"] == pytest.approx(100)
    assert scores["segm"]["AP"] == pytest.approx(100)


def test_subset_of_images(noisy):
    name, json_file, predictions = noisy
    evaluator = COCOEvaluator(name, tasks=("bbox",))
    scores = evaluate(evaluator, predictions, img_ids=[1, 3])
    results = [r for i in predictions for r in instances_to_coco_json(predictions[i], i)]
    to_dataset = {v: k for k, v in CATEGORY_IDS.items()}
    for r in results:
        r["category_id"] = to_dataset[r["category_id"]]
    expected = with_pycocotools(
        json_file, results, "bbox", lambda params: setattr(params, "imgIds", [1, 3])
    )
    assert scores["bbox"]["AP"] == pytest.approx(100 * expected.stats[0])
    whole = evaluate(evaluator, predictions)
    assert scores["bbox"]["AP"] != pytest.approx(whole["bbox"]["AP"])


def test_limit_of_detections(tmp_path, register):
    """Of 15 right detections the best 12 count when that is the limit."""
    corners = [(x, y) for x in range(0, 150, 30) for y in (0, 40, 80)]
    annotations = [
        {"id": n + 1, "image_id": 0, "bbox": [x, y, 20, 30], "area": 600, "iscrowd": 0}
        for n, (x, y) in enumerate(corners)
    ]
    for a in annotations:
        a["category_id"] = 3
    name = register(
        json_file=write_json(tmp_path / "gt.json", annotations, 1),
        thing_dataset_id_to_contiguous_id=CATEGORY_IDS,
    )
    boxes = np.array([[x, y, x + 20, y + 30] for x, y in corners], dtype=float)
    predictions = {0: to_instances(boxes, [0] * 15, np.linspace(1, 0.1, 15), with_masks=False)}
    unlimited = evaluate(COCOEvaluator(name), predictions)["bbox"]
    limited = evaluate(COCOEvaluator(name, max_dets_per_image=12), predictions)["bbox"]
    assert unlimited["AP"] == pytest.approx(100)
    assert limited["AP"] == pytest.approx(100 * 81 / 101)  # recall points 0, 0.01 ... 0.8
    assert list(unlimited) == BOX_KEYS


def test_keypoints_equal_pycocotools(tmp_path, register):
    rng = np.random.default_rng(2)
    annotations = make_annotations(rng, with_keypoints=17)
    json_file = write_json(tmp_path / "gt.json", annotations)
    name = register(json_file=json_file, thing_dataset_id_to_contiguous_id=CATEGORY_IDS)
    predictions = {}
    for image_id in range(4):
        mine = [a for a in annotations if a["image_id"] == image_id]
        points = np.array([a["keypoints"] for a in mine]).reshape(-1, 17, 3)
        points[..., :2] += 0.5 + rng.normal(0, 2, points[..., :2].shape)
        boxes = np.array([a["bbox"] for a in mine])
        boxes[:, 2:] += boxes[:, :2]
        instances = to_instances(
            boxes, [CATEGORY_IDS[a["category_id"]] for a in mine], rng.random(len(mine)), False
        )
        instances.pred_keypoints = torch.as_tensor(points)
        predictions[image_id] = instances
    evaluator = COCOEvaluator(name, output_dir=str(tmp_path))
    scores = evaluate(evaluator, predictions)
    assert set(scores) == {"bbox", "keypoints"}
    results = json.loads((tmp_path / "coco_instances_results.json").read_text())
    expected = with_pycocotools(json_file, results, "keypoints")
    assert list(scores["keypoints"]) == ["AP", "AP50", "AP75", "APm", "APl"]
    for key, stat in zip(scores["keypoints"], expected.stats):
        wanted = 100 * stat if stat >= 0 else float("nan")
        assert scores["keypoints"][key] == pytest.approx(wanted, nan_ok=True)

    with pytest.raises(AssertionError):
        evaluate(COCOEvaluator(name, kpt_oks_sigmas=[0.1] * 5), predictions)


def test_no_predictions(noisy):
    name, _, _ = noisy
    evaluator = COCOEvaluator(name)
    evaluator.reset()
    assert evaluator.evaluate() == {}
    empty = to_instances(np.zeros((0, 4)), [], [])
    scores = evaluate(evaluator, {0: empty})
    assert list(scores) == ["bbox"]
    assert list(scores["bbox"]) == BOX_KEYS
    assert np.isnan(list(scores["bbox"].values())).all()


def test_unknown_class_is_refused(noisy):
    name, _, _ = noisy
    predictions = {0: to_instances(np.array([[1.0, 1, 9, 9]]), [3], [0.5], with_masks=False)}
    with pytest.raises(AssertionError):
        evaluate(COCOEvaluator(name), predictions)


def test_unknown_task_is_refused(noisy):
    name, _, predictions = noisy
    with pytest.raises(AssertionError):
        evaluate(COCOEvaluator(name, tasks=("boxes",)), predictions)


def test_json_without_annotations_writes_results_only(tmp_path, register, noisy):
    _, _, predictions = noisy
    name = register(
        json_file=write_json(tmp_path / "test.json", None),
        thing_dataset_id_to_contiguous_id=CATEGORY_IDS,
    )
    assert evaluate(COCOEvaluator(name, output_dir=str(tmp_path / "t")), predictions) == {}
    written = json.loads((tmp_path / "t/coco_instances_results.json").read_text())
    assert len(written) == sum(len(p) for p in predictions.values())


def test_dataset_in_standard_format_is_converted(tmp_path, register):
    record = {
        "file_name": "a.jpg",
        "image_id": 5,
        "height": SIZE[0],
        "width": SIZE[1],
        "annotations": [
            {"bbox": [10, 10, 60, 70], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 1}
        ],
    }
    name = register([record], thing_classes=NAMES)
    with pytest.raises(ValueError, match="output_dir"):
        COCOEvaluator(name)
    evaluator = COCOEvaluator(name, output_dir=str(tmp_path))
    assert (tmp_path / f"{name}_coco_format.json").is_file()
    right = to_instances(np.array([[10.0, 10, 60, 70]]), [1], [0.9], with_masks=False)
    scores = evaluate(evaluator, {5: right})["bbox"]
    assert scores["AP"] == pytest.approx(100)
    assert scores["AP-dog"] == pytest.approx(100)
    assert np.isnan(scores["AP-cat"])


def test_instances_to_coco_json_keeps_everything():
    boxes = np.array([[10.0, 20, 30, 60], [0, 0, 5, 5]])
    instances = to_instances(boxes, [2, 0], [0.5, 0.25])
    first, second = instances_to_coco_json(instances, 42)
    assert first["image_id"] == second["image_id"] == 42
    assert first["bbox"] == [10, 20, 20, 40]
    assert (first["category_id"], first["score"]) == (2, 0.5)
    assert (mask_util.decode(first["segmentation"]) == rectangle_mask(boxes[0])).all()
    assert isinstance(first["segmentation"]["counts"], str)
    assert instances_to_coco_json(instances[:0], 1) == []


def test_keypoints_become_pixel_indices():
    instances = to_instances(np.array([[0.0, 0, 9, 9]]), [0], [1.0], with_masks=False)
    instances.pred_keypoints = torch.tensor([[[3.5, 4.0, 0.9], [1.0, 2.0, 0.1]]])
    (result,) = instances_to_coco_json(instances, 0)
    assert result["keypoints"] == pytest.approx([3.0, 3.5, 0.9, 0.5, 1.5, 0.1])


@pytest.mark.parametrize("params", [{}, {"useCats": 0}, {"maxDets": [1, 2, 3]}])
@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_fast_api_equals_pycocotools(noisy, task, params):
    _, json_file, predictions = noisy
    results = [r for i in predictions for r in instances_to_coco_json(predictions[i], i)]
    for r in results:
        r["category_id"] = {v: k for k, v in CATEGORY_IDS.items()}[r["category_id"]]
    reference = with_pycocotools(
        json_file, results, task, lambda p: [setattr(p, k, v) for k, v in params.items()]
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(json_file)
        fast = COCOeval_opt(truth, truth.loadRes(results), task)
        for key, value in params.items():
            setattr(fast.params, key, value)
        fast.evaluate()
        fast.accumulate()
        fast.summarize()
    for key in ("precision", "recall", "scores"):
        np.testing.assert_allclose(fast.eval[key], reference.eval[key], atol=1e-12)
    np.testing.assert_allclose(fast.stats, reference.stats, atol=1e-12)


def test_real_instances_against_themselves(shared_data, tmp_path, register):
    """Loaded, predicted as they are and evaluated: AP is 100."""
    json_file = shared_data / "fruits_nuts/trainval.json"
    content = json.loads(json_file.read_text())
    to_contiguous = {c["id"]: index for index, c in enumerate(content["categories"])}
    name = register(
        json_file=str(json_file),
        thing_classes=[c["name"] for c in content["categories"]],
        thing_dataset_id_to_contiguous_id=to_contiguous,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(json_file))
    predictions = {}
    some = content["images"][:5]  # of 18, for speed
    for image in some:
        mine = truth.loadAnns(truth.getAnnIds(imgIds=image["id"]))
        instances = Instances((image["height"], image["width"]))
        boxes = torch.tensor([a["bbox"] for a in mine], dtype=torch.float64)
        boxes[:, 2:] += boxes[:, :2]
        instances.pred_boxes = Boxes(boxes)
        instances.pred_masks = torch.as_tensor(np.stack([truth.annToMask(a) for a in mine])).bool()
        instances.pred_classes = torch.tensor([to_contiguous[a["category_id"]] for a in mine])
        instances.scores = torch.ones(len(mine))
        predictions[image["id"]] = instances
    scores = evaluate(COCOEvaluator(name), predictions, img_ids=[image["id"] for image in some])
    assert scores["bbox"]["AP"] == pytest.approx(100)
    assert scores["segm"]["AP"] == pytest.approx(100)
    assert scores["segm"]["AP-hazelnut"] == pytest.approx(100)
