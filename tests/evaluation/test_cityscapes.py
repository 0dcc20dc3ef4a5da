"""Cityscapes' own scores on a miniature of its files, against brute force.

Shapes: H W image size.
"""

from __future__ import annotations

import itertools
import json
import logging
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import auc, precision_recall_curve

from detectron2.structures import BitMasks, Instances
from detectron2.utils import comm
from freeseg.catalog import dataset_metadata, kept
from freeseg.data.datasets.cityscapes import register_cityscapes
from freeseg.data.datasets.roots import datasets_root
from freeseg.data.panoptic import id2rgb
from freeseg.data.prepare.cityscapes import prepare_panoptic, prepare_semantic
from freeseg.data.prepare.job import Job
from freeseg.engine import Trainer
from freeseg.evaluation import build_evaluators, results_table
from freeseg.evaluation.cityscapes import CityscapesInstanceEvaluator, CityscapesSemanticEvaluator

evaluation = "cityscapesscripts.evaluation"
pixel_script = pytest.importorskip(f"{evaluation}.evalPixelLevelSemanticLabeling")
panoptic_script = pytest.importorskip(f"{evaluation}.evalPanopticSemanticLabeling")

PANOPTIC = "cityscapes_fine_panoptic_val"
SIZE = (60, 80)
OVERLAPS = np.arange(0.5, 1, 0.05)
MIN_AREA = 100  # smaller true instances are not asked for
ROAD, BUILDING, SKY, PERSON, CAR, CARAVAN, BICYCLE, STATIC = 7, 11, 23, 24, 26, 29, 33, 4
LABELS = {label.id: label for label in pixel_script.labels}
EVALUATED = [number for number, label in LABELS.items() if not label.ignoreInEval]


def scenes() -> dict[str, np.ndarray]:
    """Instance ids [H, W] of three photos of two cities, as in Cityscapes' own files."""
    first, second, third = (np.full(SIZE, ROAD, dtype=np.int32) for _ in range(3))
    first[:20] = SKY
    first[25:45, 5:25], first[30:45, 40:60], first[10:35, 65:73] = 26000, 26001, 24000
    second[:30, :50] = BUILDING
    second[35:45, 10:40], second[20:40, 60:80], second[55:] = 26000, PERSON, STATIC  # a group
    third[:25] = BUILDING
    third[30:50, 5:13], third[30:35, 20:25], third[30:50, 40:70] = 33000, 26000, 29000
    third[5:25, 30:40] = 24000
    return {
        "frankfurt_000000_000294": first,
        "frankfurt_000001_000019": second,
        "lindau_000000_000019": third,
    }


def labels_of(ids: np.ndarray) -> np.ndarray:
    return np.where(ids < 1000, ids, ids // 1000)


def perfect(ids: np.ndarray) -> tuple[np.ndarray, list[tuple[int, float, np.ndarray]]]:
    """Label ids [H, W], and (label id, score, mask [H, W]) of every evaluated instance."""
    labels = labels_of(ids)
    numbers = [number for number in np.unique(ids) if number >= 1000 and number // 1000 != CARAVAN]
    found = [
        (int(number // 1000), 0.9 - 0.1 * place, ids == number)
        for place, number in enumerate(numbers)
    ]
    return np.where(np.isin(labels, EVALUATED), labels, ROAD), found


def wrong(ids: np.ndarray) -> tuple[np.ndarray, list[tuple[int, float, np.ndarray]]]:
    """Everything shifted, some classes mistaken, and false alarms of all kinds."""
    labels, found = perfect(ids)
    rng = np.random.default_rng(int(ids.sum()))
    guesses = []
    for label, _, mask in found:
        for _ in range(3):  # the second best of an object is a false alarm
            shift = tuple(int(number) for number in rng.integers(-3, 4, 2))
            guess = label if rng.random() < 0.8 else BICYCLE
            guesses.append((guess, float(rng.random()), np.roll(mask, shift, (0, 1))))
    corner, group, parked = (np.zeros(SIZE, dtype=bool) for _ in range(3))
    corner[52:, :20], group[25:40, 60:75], parked[30:50, 40:65] = True, True, True
    guesses += [(CAR, 0.55, corner), (PERSON, 0.65, group), (CAR, 0.45, parked)]
    return np.roll(labels, 7, axis=1), guesses


def outputs(dataset: str, labels: np.ndarray, found) -> dict:
    """What a model gives, in the dataset's class numbers; some stuff is among its instances."""
    metadata = dataset_metadata(dataset)
    numbers = metadata.stuff_dataset_id_to_contiguous_id
    scores = torch.zeros(len(numbers), *SIZE)
    for label_id, number in numbers.items():
        scores[number] = torch.from_numpy(labels == label_id)
    things = metadata.thing_dataset_id_to_contiguous_id
    classes = [things[label] for label, _, _ in found]
    masks = [mask for _, _, mask in found]
    if min(things.values()) > 0:
        classes, masks = [*classes, min(things.values()) - 1], [*masks, np.ones(SIZE, dtype=bool)]
    tensor = torch.from_numpy(np.stack(masks))
    instances = Instances(
        SIZE,
        pred_masks=tensor,
        pred_boxes=BitMasks(tensor).get_bounding_boxes(),
        pred_classes=torch.tensor(classes),
        scores=torch.tensor([*(score for _, score, _ in found), 1.0])[: len(classes)],
    )
    return {"sem_seg": scores, "instances": instances, "panoptic_seg": panoptic(labels, numbers)}


def panoptic(labels: np.ndarray, numbers: dict[int, int]) -> tuple[torch.Tensor, list[dict]]:
    """Every class as one segment."""
    ids = torch.from_numpy(labels.astype(np.int32))
    segments = [
        {"id": number, "category_id": numbers[number], "isthing": number >= PERSON}
        for number in np.unique(labels).tolist()
        if number in numbers
    ]
    return ids, segments


class Guesser:
    """Looks at a photo's name and answers with its annotation as `guess` changes it."""

    def __init__(self, dataset: str, guess) -> None:
        self.dataset, self.guess = dataset, guess

    def __call__(self, inputs: list[dict]) -> list[dict]:
        keys = [Path(row["file_name"]).name.replace("_leftImg8bit.png", "") for row in inputs]
        return [outputs(self.dataset, *self.guess(scenes()[key])) for key in keys]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The files of Cityscapes, prepared and registered."""
    folder = tmp_path_factory.mktemp("cityscapes")
    write_tree(folder / "cityscapes")
    register_cityscapes(folder)
    yield folder
    register_cityscapes(datasets_root())


def write_tree(folder: Path) -> None:
    for stem, ids in scenes().items():
        city = stem.split("_")[0]
        truth, photos = (folder / kind / "val" / city for kind in ("gtFine", "leftImg8bit"))
        truth.mkdir(parents=True, exist_ok=True)
        photos.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1]).save(photos / f"{stem}_leftImg8bit.png")
        Image.fromarray(ids.astype(np.uint16)).save(truth / f"{stem}_gtFine_instanceIds.png")
        labels = labels_of(ids).astype(np.uint8)
        Image.fromarray(labels).save(truth / f"{stem}_gtFine_labelIds.png")
    job = Job(folder, folder, splits=("val",))
    prepare_semantic(job)
    prepare_panoptic(job)


def score(dataset: str, guess, records=None) -> dict:
    """The results of both evaluators on the dataset, or on some records of it."""
    results = {}
    for kind in (CityscapesSemanticEvaluator, CityscapesInstanceEvaluator):
        evaluator = kind(dataset)
        evaluator.reset()
        model = Guesser(dataset, guess)
        for record in records or kept(dataset).load():
            evaluator.process([record], model([record]))
        results.update(evaluator.evaluate())
    return results


def test_perfect_predictions_are_perfect(root):
    results = score(PANOPTIC, perfect)
    headline = {"IoU": 100, "iIoU": 100, "IoU_sup": 100, "iIoU_sup": 100}
    assert {key: results["sem_seg_cityscapes"][key] for key in headline} == headline
    assert {key: results["segm_cityscapes"][key] for key in ("AP", "AP50")} == pytest.approx(
        {"AP": 100, "AP50": 100}
    )
    assert np.isnan(results["segm_cityscapes"]["AP-bus"]), "there is no bus"


def test_iou_of_wrong_predictions_is_what_brute_force_says(root):
    results = score(PANOPTIC, wrong)["sem_seg_cityscapes"]
    pairs = [(ids, wrong(ids)[0]) for ids in scenes().values()]
    classes = {LABELS[number].name: [number] for number in EVALUATED}
    categories: dict[str, list[int]] = {}
    for number in EVALUATED:
        categories.setdefault(LABELS[number].category, []).append(number)
    for suffix, groups in (("", classes), ("_sup", categories)):
        plain = {name: iou(pairs, members) for name, members in groups.items()}
        weighted = {
            name: instance_iou(pairs, members)
            for name, members in groups.items()
            if all(LABELS[number].hasInstances for number in members)
        }
        assert results[f"IoU{suffix}"] == pytest.approx(100 * np.nanmean(list(plain.values())))
        assert results[f"iIoU{suffix}"] == pytest.approx(100 * np.nanmean(list(weighted.values())))
        assert 20 < results[f"iIoU{suffix}"] < 90
        if not suffix:
            for key, values in (("IoU", plain), ("iIoU", weighted)):
                expected = {f"{key}-{name}": 100 * value for name, value in values.items()}
                found = {name: results[name] for name in expected}
                assert found == pytest.approx(expected, nan_ok=True)


def iou(pairs, members) -> float:
    shared, joint = 0, 0
    for ids, guess in pairs:
        truth = labels_of(ids)
        is_true, is_guess = np.isin(truth, members), np.isin(guess, members)
        shared += (is_true & is_guess).sum()
        joint += ((is_true | is_guess) & np.isin(truth, EVALUATED)).sum()
    return shared / joint if joint else np.nan


def instance_iou(pairs, members) -> float:
    """True pixels count as much as if their object had the average size of its class."""
    found, total, false = 0.0, 0.0, 0
    for ids, guess in pairs:
        truth = labels_of(ids)
        is_guess = np.isin(guess, members)
        false += (is_guess & np.isin(truth, EVALUATED) & ~np.isin(truth, members)).sum()
        for number in np.unique(ids[ids >= 1000]):
            if number // 1000 in members:
                average = pixel_script.args.avgClassSize[LABELS[number // 1000].name]
                found += average * is_guess[ids == number].mean()
                total += average
    return found / (total + false) if total + false else np.nan


def test_ap_of_wrong_predictions_is_what_brute_force_says(root):
    results = score(PANOPTIC, wrong)["segm_cityscapes"]
    pairs = [(ids, wrong(ids)[1]) for ids in scenes().values()]
    table = {
        LABELS[number].name: [average_precision(pairs, number, least) for least in OVERLAPS]
        for number in (PERSON, CAR, BICYCLE)
    }
    expected = {f"AP-{name}": 100 * np.mean(values) for name, values in table.items()}
    expected.update({f"AP50-{name}": 100 * values[0] for name, values in table.items()})
    expected["AP"] = 100 * np.mean(list(table.values()))
    expected["AP50"] = 100 * np.mean([values[0] for values in table.values()])
    assert {name: results[name] for name in expected} == pytest.approx(expected)
    assert 5 < results["AP"] < results["AP50"] < 90


def average_precision(pairs, label: int, least: float) -> float:
    """Area under the line through the points of precision and recall."""
    is_right, scores, num_true = [], [], 0
    for ids, found in pairs:
        truths = [ids == number for number in np.unique(ids) if number // 1000 == label]
        small = [mask for mask in truths if mask.sum() < MIN_AREA]
        truths = [mask for mask in truths if mask.sum() >= MIN_AREA]
        excused = [*small, ids == label]  # and groups
        ignored = np.isin(ids, [number for number in LABELS if number not in EVALUATED])
        guesses = sorted((row[1:] for row in found if row[0] == label), key=lambda row: -row[0])
        taken = [False] * len(truths)
        num_true += len(truths)
        for score_, mask in guesses:
            hits = [place for place, truth in enumerate(truths) if overlap(truth, mask) > least]
            if hits:
                is_right.append(not taken[hits[0]])
                taken[hits[0]] = True
                scores.append(score_)
                continue
            is_excused = any(overlap(region, mask) > least for region in excused)
            if not is_excused and np.logical_or.reduce([*excused, ignored])[mask].mean() <= least:
                is_right.append(False)
                scores.append(score_)
    if not any(is_right):
        return 0.0
    precision, recall, _ = precision_recall_curve(is_right, scores)
    return auc(recall * sum(is_right) / num_true, precision)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_one_false_alarm_above_the_only_bicycle_costs_three_quarters(root):
    def alarmed(ids):
        labels, found = perfect(ids)
        return labels, [*found, (BICYCLE, 0.95, np.roll(ids == 33000, 30, axis=1))]

    (third,) = [row for row in kept(PANOPTIC).load() if "lindau" in row["file_name"]]
    results = score(PANOPTIC, alarmed, [third])["segm_cityscapes"]
    assert results["AP-bicycle"] == pytest.approx(25)  # the line from (0, 0) to (1, 1/2)
    assert results["AP-person"] == pytest.approx(100)


@pytest.mark.parametrize("kind", ["instance_seg", "sem_seg"])
def test_datasets_of_one_task_have_the_scores_of_the_panoptic_one(root, kind):
    """Though the instance dataset numbers its classes from the first thing."""
    dataset = f"cityscapes_fine_{kind}_val"
    own = {"sem_seg": CityscapesSemanticEvaluator, "instance_seg": CityscapesInstanceEvaluator}
    evaluator = own[kind](dataset)
    evaluator.reset()
    for record in kept(dataset).load():
        evaluator.process([record], Guesser(dataset, wrong)([record]))
    ((task, values),) = evaluator.evaluate().items()
    assert values == pytest.approx(score(PANOPTIC, wrong)[task], nan_ok=True)


def test_the_package_counts_panoptic_quality_as_cocos_evaluator_does(root, cfg, tmp_path):
    evaluator = build_evaluators(cfg, PANOPTIC)[2]
    evaluator.reset()
    model = Guesser(PANOPTIC, wrong)
    truth = dataset_metadata(PANOPTIC)
    rows = []
    for record in kept(PANOPTIC).load():
        evaluator.process([record], model([record]))
        labels = wrong(scenes()[record["image_id"]])[0]
        name = Path(record["pan_seg_file_name"]).name
        Image.fromarray(id2rgb(labels.astype(np.int32))).save(tmp_path / name)
        segments = [{"id": number, "category_id": number} for number in np.unique(labels).tolist()]
        rows.append({"image_id": record["image_id"], "file_name": name, "segments_info": segments})
    results = evaluator.evaluate()["panoptic_seg"]
    expected = package_quality(truth, rows, tmp_path)
    assert {key: results[key] for key in expected} == pytest.approx(expected)
    assert 10 < results["PQ"] < 90


def package_quality(truth, rows, folder: Path) -> dict[str, float]:
    content = json.loads(Path(truth.panoptic_json).read_text())
    of_image = {row["image_id"]: row for row in content["annotations"]}
    pairs = [(of_image[row["image_id"]], row) for row in rows]
    categories = {row["id"]: row for row in content["categories"]}
    counts = panoptic_script.pq_compute_single_core(
        0, pairs, truth.panoptic_root, str(folder), categories
    )
    quality = panoptic_script.average_pq(counts, categories)
    return {
        f"{key.upper()}{suffix}": 100 * quality[group][key]
        for group, suffix in (("All", ""), ("Things", "_th"), ("Stuff", "_st"))
        for key in ("pq", "sq", "rq")
    }


# the way that --eval-only takes


def test_the_trainers_evaluation_has_them_beside_cocos(root, cfg):
    cfg.DATASETS.TEST = (PANOPTIC,)
    cfg.DATALOADER.NUM_WORKERS = 0
    results = Trainer.test(cfg, Guesser(PANOPTIC, perfect))
    assert list(results) == ["sem_seg", "segm", "panoptic_seg", *score(PANOPTIC, perfect)]
    assert results["sem_seg"]["mIoU"] == pytest.approx(results["sem_seg_cityscapes"]["IoU"])
    table = results_table(results)
    assert "| semantic, Cityscapes |" in table
    assert "| instance, Cityscapes |" in table
    assert "iIoU_sup" in table


def test_tasks_that_are_off_have_no_scores(root, cfg):
    cfg.MODEL.MASK_FORMER.TEST.SEMANTIC_ON = False
    kinds = [type(evaluator) for evaluator in build_evaluators(cfg, PANOPTIC)]
    assert CityscapesInstanceEvaluator in kinds
    assert CityscapesSemanticEvaluator not in kinds


def test_without_the_package_cocos_evaluators_remain(root, cfg, monkeypatch, caplog):
    for name in [name for name in sys.modules if name.startswith("cityscapesscripts.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cityscapesscripts", None)
    with caplog.at_level(logging.INFO, logger="freeseg"):
        evaluators = build_evaluators(cfg, PANOPTIC)
    assert len(evaluators) == 3
    (line,) = [row.message for row in caplog.records if "pip install" in row.message]
    assert line.startswith(f"{PANOPTIC}: without Cityscapes' own IoU, iIoU and AP")


# the package's habits


def test_numpy_is_as_before_and_the_package_silent(root, capsys):
    before = dir(np)
    score(PANOPTIC, perfect)
    assert dir(np) == before
    assert pixel_script.np is np
    assert capsys.readouterr().out == ""


def test_where_the_package_would_exit_an_error_says_why(root):
    evaluator = CityscapesSemanticEvaluator(PANOPTIC)
    record = kept(PANOPTIC).load()[0]
    with pytest.raises(
        RuntimeError, match=r"cityscapesscripts: ERROR: Image widths of .* not equal"
    ):
        evaluator.process([record], [{"sem_seg": torch.zeros(19, 60, 70)}])


def test_missing_ground_truth_is_named(root):
    evaluator = CityscapesInstanceEvaluator(PANOPTIC)
    record = {"file_name": "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png"}
    with pytest.raises(FileNotFoundError, match="ulm_000000_000019_gtFine_instanceIds"):
        evaluator.process([record], [{"instances": Instances(SIZE)}])


# several processes


@pytest.mark.parametrize("kind", [CityscapesSemanticEvaluator, CityscapesInstanceEvaluator])
@pytest.mark.parametrize("shares", [(2, 0, 1), (0, 1, 2)])
def test_processes_score_as_one_however_photos_are_shared(root, monkeypatch, kind, shares):
    records, ends = kept(PANOPTIC).load(), np.cumsum([0, *shares])

    def evaluate(some):
        evaluator = kind(PANOPTIC)
        for record in some:
            evaluator.process([record], Guesser(PANOPTIC, wrong)([record]))
        return evaluator.evaluate()

    alone = evaluate(records)
    parts = [records[first:last] for first, last in itertools.pairwise(ends)]
    # one after another, for they share the package's settings; each sends what a pickle can hold
    sent = []
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    monkeypatch.setattr(comm, "gather", lambda part: sent.append(pickle.dumps(part)))
    assert [evaluate(part) for part in parts] == [None] * 3
    monkeypatch.setattr(comm, "is_main_process", lambda: True)
    monkeypatch.setattr(comm, "gather", lambda _: [pickle.loads(part) for part in sent])
    assert {task: dict(values) for task, values in evaluate(parts[0]).items()} == {
        task: pytest.approx(values, nan_ok=True) for task, values in alone.items()
    }
