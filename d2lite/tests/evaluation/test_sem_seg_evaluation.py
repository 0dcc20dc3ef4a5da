"""SemSegEvaluator against counting pixels class by class."""

from __future__ import annotations

import json

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch
from PIL import Image

from detectron2.evaluation import SemSegEvaluator
from detectron2.evaluation.sem_seg_evaluation import load_image_into_numpy_array

NAMES = ["road", "sky", "tree", "car", "never"]
NUM_CLASSES = len(NAMES)
IGNORE = 255


def random_labels(rng, size=(37, 50)):
    coarse = rng.integers(0, NUM_CLASSES - 1, (size[0] // 6 + 1, size[1] // 6 + 1))
    labels = coarse.repeat(6, 0).repeat(6, 1)[: size[0], : size[1]]
    return np.ascontiguousarray(labels)


def make_set(folder, register, rng, num_images=3, **metadata):
    """Ground truth on disk and predictions that agree with about two thirds of it."""
    records, truths, predictions = [], [], []
    for index in range(num_images):
        truth = random_labels(rng)
        prediction = np.where(rng.random(truth.shape) < 0.3, random_labels(rng), truth)
        truth = np.where(rng.random(truth.shape) < 0.1, IGNORE, truth)
        path = folder / f"{index}.png"
        Image.fromarray(truth.astype(np.uint8)).save(path)
        records.append({"file_name": f"{index}.jpg", "sem_seg_file_name": str(path)})
        truths.append(truth)
        predictions.append(prediction)
    metadata = {"stuff_classes": NAMES, "ignore_label": IGNORE, **metadata}
    return register(records, **metadata), records, truths, predictions


def evaluate(name, records, predictions, **kwargs):
    evaluator = SemSegEvaluator(name, distributed=False, **kwargs)
    evaluator.reset()
    for record, prediction in zip(records, predictions):
        scores = torch.nn.functional.one_hot(torch.as_tensor(prediction), NUM_CLASSES)
        evaluator.process([record], [{"sem_seg": scores.permute(2, 0, 1).float()}])
    return evaluator.evaluate()["sem_seg"]


def percent(part, whole):
    return 100 * part / whole if whole else float("nan")


def test_scores_equal_counting(tmp_path, register):
    name, records, truths, predictions = make_set(tmp_path, register, np.random.default_rng(0))
    scores = evaluate(name, records, predictions)

    truth, prediction = np.concatenate(truths, axis=0), np.concatenate(predictions, axis=0)
    valid = truth != IGNORE
    truth, prediction = truth[valid], prediction[valid]
    ious, accuracies, frequencies = [], [], []
    for label, class_name in enumerate(NAMES):
        t, p = truth == label, prediction == label
        iou = percent((t & p).sum(), (t | p).sum())
        accuracy = percent((t & p).sum(), t.sum())
        assert scores[f"IoU-{class_name}"] == pytest.approx(iou, nan_ok=True)
        assert scores[f"ACC-{class_name}"] == pytest.approx(accuracy, nan_ok=True)
        if t.any():
            ious.append(iou)
            accuracies.append(accuracy)
            frequencies.append(t.mean())
    assert np.isnan(scores["IoU-never"])
    assert scores["mIoU"] == pytest.approx(np.mean(ious))
    assert scores["mACC"] == pytest.approx(np.mean(accuracies))
    assert scores["fwIoU"] == pytest.approx(np.dot(ious, frequencies))
    assert scores["pACC"] == pytest.approx(100 * (truth == prediction).mean())


def test_keys_and_their_order(tmp_path, register):
    name, records, _, predictions = make_set(tmp_path, register, np.random.default_rng(1), 1)
    per_class = [
        key.format(c) for c in NAMES for key in ("IoU-{}", "BoundaryIoU-{}", "min(IoU, B-Iou)-{}")
    ]
    expected = ["mIoU", "fwIoU", *per_class, "mACC", "pACC", *(f"ACC-{c}" for c in NAMES)]
    assert list(evaluate(name, records, predictions)) == expected


def test_perfect_prediction_scores_100(tmp_path, register):
    name, records, truths, _ = make_set(tmp_path, register, np.random.default_rng(2))
    filled = [np.where(t == IGNORE, 0, t) for t in truths]
    scores = evaluate(name, records, filled)
    for key in ("mIoU", "fwIoU", "mACC", "pACC", "IoU-car", "ACC-sky"):
        assert scores[key] == pytest.approx(100)


def boundary(labels):
    """Label minus the lowest label within reach, outside counting as 0."""
    reach = max(1, round(0.02 * np.hypot(*labels.shape)))
    framed = np.pad(labels, reach)
    windows = np.lib.stride_tricks.sliding_window_view(framed, (2 * reach + 1,) * 2)
    return labels - windows.min(axis=(2, 3))


def test_boundary_iou(tmp_path, register):
    rng = np.random.default_rng(3)
    name, records, truths, predictions = make_set(tmp_path, register, rng)
    scores = evaluate(name, records, predictions)
    matrix = np.zeros((NUM_CLASSES + 1, NUM_CLASSES + 1))
    for truth, prediction in zip(truths, predictions):
        truth = np.where(truth == IGNORE, NUM_CLASSES, truth)
        np.add.at(matrix, (boundary(prediction), boundary(truth)), 1)
    matrix = matrix[:-1, :-1]
    for label, class_name in enumerate(NAMES):
        hits = matrix[label, label]
        union = matrix[label].sum() + matrix[:, label].sum() - hits
        expected = percent(hits, union)
        assert scores[f"BoundaryIoU-{class_name}"] == pytest.approx(expected, nan_ok=True)
        lower = min(scores[f"IoU-{class_name}"], expected)
        assert scores[f"min(IoU, B-Iou)-{class_name}"] == pytest.approx(lower, nan_ok=True)


def test_many_classes_have_no_boundary_iou(register):
    name = register([], stuff_classes=[str(i) for i in range(255)], ignore_label=255)
    evaluator = SemSegEvaluator(name, distributed=False)
    evaluator.reset()
    with np.errstate(all="ignore"):
        scores = evaluator.evaluate()["sem_seg"]
    assert not [key for key in scores if "B" in key]
    assert np.isnan(scores["mIoU"])


def test_written_files(tmp_path, register):
    dataset_ids = {10 * (index + 1): index for index in range(NUM_CLASSES)}
    name, records, _, predictions = make_set(
        tmp_path, register, np.random.default_rng(4), stuff_dataset_id_to_contiguous_id=dataset_ids
    )
    scores = evaluate(name, records, predictions, output_dir=str(tmp_path / "out"))
    saved = torch.load(tmp_path / "out/sem_seg_evaluation.pth", weights_only=False)
    assert saved == pytest.approx(scores, nan_ok=True)

    written = json.loads((tmp_path / "out/sem_seg_predictions.json").read_text())
    rebuilt = {r["file_name"]: np.full((37, 50), -1) for r in records}
    for entry in written:
        mask = mask_util.decode(entry["segmentation"]).astype(bool)
        rebuilt[entry["file_name"]][mask] = dataset_ids[entry["category_id"]]
    for record, prediction in zip(records, predictions):
        assert (rebuilt[record["file_name"]] == prediction).all()


def test_label_without_dataset_id_is_refused(tmp_path, register):
    name, records, _, predictions = make_set(
        tmp_path, register, np.random.default_rng(5), stuff_dataset_id_to_contiguous_id={7: 0}
    )
    with pytest.raises(AssertionError):
        evaluate(name, records, predictions)


def test_loading_function_can_be_replaced(tmp_path, register):
    name, records, truths, _ = make_set(tmp_path, register, np.random.default_rng(6), 1)
    inverted = NUM_CLASSES - 1 - np.where(truths[0] == IGNORE, 0, truths[0])

    def load(file_name, dtype):
        labels = load_image_into_numpy_array(file_name, dtype=dtype)
        return np.where(labels == IGNORE, IGNORE, NUM_CLASSES - 1 - labels)

    scores = evaluate(name, records, [inverted], sem_seg_loading_fn=load)
    assert scores["mIoU"] == pytest.approx(100)


def test_number_of_classes_must_agree(register):
    name = register([], stuff_classes=NAMES, ignore_label=IGNORE)
    with pytest.raises(AssertionError):
        SemSegEvaluator(name, num_classes=3)


@pytest.mark.parametrize("dtype", [None, int, "uint8", np.float32])
def test_load_image_into_numpy_array(dtype, tmp_path):
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(values).save(tmp_path / "a.png")
    loaded = load_image_into_numpy_array(str(tmp_path / "a.png"), dtype=dtype)
    assert loaded.dtype == np.dtype(dtype or np.uint8)
    assert (loaded == values).all()
