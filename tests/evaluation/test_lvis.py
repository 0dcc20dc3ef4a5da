"""LVIS's AP: what is verified counts, by hand, and as COCO's where everything is."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from freeseg import build_model
from freeseg.catalog import dataset_metadata, dataset_vocabulary
from freeseg.data import build_test_loader
from freeseg.data.datasets.custom import register_custom
from freeseg.data.records import dataset_records
from freeseg.engine.trainer import Trainer
from freeseg.evaluation import (
    best_metric,
    build_evaluators,
    lvis,
    require_known_metric,
    results_table,
)
from freeseg.evaluation.lvis import best_of_classes

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lvis_files import found_boxes, lvis_content, write_lvis
from processes import Processes
from small_inputs import three_classes
from tiny_systems import tiny_grounding_dino_config

pytest.importorskip("lvis", reason="needs the extra freeseg[lvis]")

CAT, NEWT, DOG = 5, 7, 20
CATEGORIES = [(CAT, "cat", "f"), (NEWT, "newt", "r"), (DOG, "dog", "c")]
A, B, C, D, E = (2, 2, 22, 22), (30, 2, 50, 22), (2, 40, 22, 60), (60, 60, 80, 80), (30, 50, 80, 90)
OBJECTS = {1: [(CAT, A)], 2: [(NEWT, B), (NEWT, C)], 3: [(DOG, E)]}
MINIATURE = lvis_content(
    CATEGORIES, OBJECTS, negative={1: [NEWT], 2: [CAT]}, unfinished={2: [NEWT]}
)
WIDTH_OF_76_PERCENT = (30, 50, 68, 90)
FOUND = {
    1: [(CAT, A, 0.9), (NEWT, D, 0.5)],
    # the cat is wrong; the second newt may be one that nobody has marked
    2: [(CAT, D, 0.95), (NEWT, B, 0.9), (NEWT, D, 0.99)],
    # nobody has looked for cats: this one does not count
    3: [(DOG, WIDTH_OF_76_PERCENT, 0.7), (CAT, D, 0.99)],
}
# the cat comes after a wrong one: precision 1/2; a newt of two: the first 51 of 101 recalls; the
# overlap of the dog, 0.76, is enough for 6 of 10 thresholds
CAT_AP, NEWT_AP, DOG_AP = 50.0, 100 * 51 / 101, 60.0
BY_HAND = {
    "AP": (CAT_AP + NEWT_AP + DOG_AP) / 3,
    "AP50": (CAT_AP + NEWT_AP + 100) / 3,
    "AP75": (CAT_AP + NEWT_AP + 100) / 3,
    "APs": (CAT_AP + NEWT_AP) / 2,  # 20 x 20
    "APm": DOG_AP,  # 50 x 40
    "APl": math.nan,
    "APr": NEWT_AP,
    "APc": DOG_AP,
    "APf": CAT_AP,
}


@pytest.fixture
def register(tmp_path):
    """Registers content as a set of one's own; returns its row of DATASETS.CUSTOM."""

    def run(content):
        file = write_lvis(tmp_path, content)
        row = [f"own_{tmp_path.name}", str(file), str(tmp_path / "coco"), ""]
        register_custom([row])
        return row

    return run


def masks_and_boxes(row):
    cfg = three_classes("Base-Mask2Former-small.yaml")
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = cfg.MODEL.MASK_FORMER.TEST.DETECTION_ON = True
    return with_set(cfg, row)


def with_set(cfg, row):
    cfg.TEST.DETECTIONS_PER_IMAGE = 300
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = [row], (row[0],), (row[0],)
    return cfg


def evaluate(cfg, name, folder, found, images=None):
    (evaluator,) = build_evaluators(cfg, name, folder)
    evaluator.reset()
    for record in dataset_records(name):
        if images is None or record["image_id"] in images:
            instances = found_boxes(name, found.get(record["image_id"], []))
            evaluator.process([record], [{"instances": instances}])
    return evaluator.evaluate()


@pytest.mark.parametrize("part", [1, 2, 100])
def test_the_miniature_by_hand(register, tmp_path, monkeypatch, part):
    monkeypatch.setattr(lvis, "PART", part)
    row = register(MINIATURE)
    results = evaluate(masks_and_boxes(row), row[0], tmp_path / "out", FOUND)
    assert set(results) == {"bbox_lvis", "segm_lvis"}
    expected = {**BY_HAND, **{f"{name}_fixed": value for name, value in BY_HAND.items()}}
    for values in results.values():
        assert values == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("key", "image", "category", "precision"),
    [("neg_category_ids", 3, CAT, 100 / 3), ("not_exhaustive_category_ids", 2, CAT, 100.0)],
    ids=["verified", "not exhaustive"],
)
def test_what_an_image_says_of_a_class_decides(register, tmp_path, key, image, category, precision):
    content = json.loads(json.dumps(MINIATURE))
    next(row for row in content["images"] if row["id"] == image)[key].append(category)
    row = register(content)
    results = evaluate(masks_and_boxes(row), row[0], tmp_path / "out", FOUND)
    for values in results.values():
        assert values["APf"] == pytest.approx(precision)
        assert values["APr"] == pytest.approx(NEWT_AP)


def test_boxes_alone_of_a_system_without_masks(register, tmp_path):
    row = register(MINIATURE)
    cfg = with_set(tiny_grounding_dino_config(), row)
    results = evaluate(cfg, row[0], tmp_path / "out", FOUND)
    assert set(results) == {"bbox_lvis"}
    assert results["bbox_lvis"]["AP"] == pytest.approx(BY_HAND["AP"])
    assert best_metric(cfg) == "bbox_lvis/AP"


@pytest.mark.slow
def test_as_many_classes_as_lvis_has_are_asked_for_in_parts(register, tmp_path):
    """Of all parts together the best 300 are judged: those of every part alone, by score."""
    words = ["red", "new", "odd", "wet", "dry", "big", "raw", "hot", "icy", "old", "sad", "shy"]
    names = [f"{a}_{b}_{c}" for a in words for b in words for c in words][:1203]
    categories = [(number, name, "rcf"[number % 3]) for number, name in enumerate(names, 1)]
    row = register(lvis_content(categories, {1: [(700, A)]}, {1: range(1, 700)}, {}))
    cfg = with_set(tiny_grounding_dino_config(), row)
    cfg.OUTPUT_DIR, cfg.DATALOADER.NUM_WORKERS = str(tmp_path / "out"), 0
    cfg.INPUT.MIN_SIZE_TEST = cfg.INPUT.MAX_SIZE_TEST = 48
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    results = Trainer.test(cfg, model)["bbox_lvis"]
    assert 0 <= results["APc"] == results["AP"] <= 100
    assert math.isnan(results["APr"])
    (file,) = (tmp_path / "out").rglob("coco_instances_results.json")
    found = [(each["category_id"], each["score"]) for each in json.loads(file.read_text())]
    assert len(found) == 300
    vocabulary = dataset_vocabulary(row[0])
    assert vocabulary.texts[699] == names[699].replace("_", " ")
    parts = [part.texts for part in model.text_side.listed(vocabulary.texts)]
    assert [number for part in parts for number in part] == list(range(1203))
    assert len(parts) >= 16  # of 80 names at most
    alone = []
    for part in parts:
        shown = next(iter(build_test_loader(cfg, row[0])))[0]
        shown["vocabulary"] = vocabulary.select(list(part))
        with torch.no_grad():
            (answer,) = model([shown])
        instances = answer["instances"]
        alone += zip((instances.pred_classes + part[0] + 1).tolist(), instances.scores.tolist())
    best = sorted(alone, key=lambda one: -one[1])[:300]
    assert sorted(score for _, score in found) == pytest.approx(sorted(score for _, score in best))
    assert (
        len(
            {part for part in range(len(parts)) for number, _ in found if number - 1 in parts[part]}
        )
        > 1
    )


def test_300_of_a_photo_count_and_fixed_all(register, tmp_path):
    """300 better ones of another class hide the cat, though nobody has looked for dogs."""
    row = register(MINIATURE)
    found = {**FOUND, 1: [(CAT, A, 0.9), *[(DOG, D, 0.95)] * 300]}
    values = evaluate(masks_and_boxes(row), row[0], tmp_path / "out", found)["segm_lvis"]
    assert values["APf"] == 0
    assert values["APf_fixed"] == pytest.approx(CAT_AP)
    fewer = {**found, 1: found[1][:-1]}
    assert evaluate(masks_and_boxes(row), row[0], tmp_path / "less", fewer)["segm_lvis"][
        "APf"
    ] == pytest.approx(CAT_AP)


def test_the_best_of_every_class_are_taken():
    rows = [{"category_id": n % 2, "score": score} for n, score in enumerate([1, 5, 3, 2, 2, 9])]
    best = best_of_classes(rows, 2)
    assert sorted((row["category_id"], row["score"]) for row in best) == [
        (0, 2), (0, 3), (1, 5), (1, 9),
    ]  # fmt: skip


def test_all_processes_count(register, tmp_path, monkeypatch):
    row = register(MINIATURE)
    processes = Processes(monkeypatch, 3)

    def process(images):
        return evaluate(masks_and_boxes(row), row[0], tmp_path / "out", FOUND, images)

    shares = [{3}, {1, 2}, set()]
    first, *others = processes.run([lambda share=share: process(share) for share in shares])
    assert first["segm_lvis"]["AP"] == pytest.approx(BY_HAND["AP"])
    assert first["bbox_lvis"]["AP_fixed"] == pytest.approx(BY_HAND["AP"])
    assert not any(others), "the main process tells"


def test_nothing_found_has_no_precision(register, tmp_path, caplog):
    row = register(MINIATURE)
    results = evaluate(masks_and_boxes(row), row[0], tmp_path / "out", {})
    assert "no predictions" in caplog.text
    assert set(results["segm_lvis"]) == {*BY_HAND, *(f"{name}_fixed" for name in BY_HAND)}
    assert all(map(math.isnan, results["segm_lvis"].values()))


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_where_everything_is_verified_it_is_cocos(register, tmp_path, kind):
    random = np.random.default_rng(4)

    def box():
        left, top = random.integers(0, 60, 2).tolist()
        width, height = random.integers(4, 40, 2).tolist()
        return left, top, left + width, top + height

    def near(box):
        left, top, right, bottom = (
            int(side + shift) for side, shift in zip(box, random.integers(-2, 3, 4))
        )
        return max(left, 0), max(top, 0), min(right, 100), min(bottom, 100)

    ids = [category for category, _, _ in CATEGORIES]
    objects = {
        number: [(ids[int(random.integers(3))], box()) for _ in range(6)] for number in range(1, 9)
    }
    negative = {
        number: [each for each in ids if each not in {one for one, _ in some}]
        for number, some in objects.items()
    }
    row = register(lvis_content(CATEGORIES, objects, negative, {}))
    found = {
        number: [
            *((category, near(one), float(random.random())) for category, one in some[:5]),
            *((ids[int(random.integers(3))], box(), float(random.random())) for _ in range(3)),
        ]
        for number, some in objects.items()
    }
    folder = tmp_path / "out"
    values = evaluate(masks_and_boxes(row), row[0], folder, found)[f"{kind}_lvis"]
    theirs = COCO(str(folder / "instances_ground_truth.json"))
    rows = json.loads((folder / "coco_instances_results.json").read_text())
    if kind == "segm":
        rows = [{key: value for key, value in each.items() if key != "bbox"} for each in rows]
    coco = COCOeval(theirs, theirs.loadRes(rows), kind)
    coco.evaluate()
    coco.accumulate()
    coco.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    expected = {
        name: 100 * value if value >= 0 else math.nan for name, value in zip(names, coco.stats)
    }
    assert {name: values[name] for name in names} == pytest.approx(expected, nan_ok=True)
    assert 5 < values["AP"] < 95


def test_a_class_that_the_model_does_not_know_is_left_out(register, tmp_path):
    row = register(MINIATURE)
    cfg = masks_and_boxes(row)
    two = tmp_path / "classes.json"
    two.write_text(
        json.dumps([{"id": n, "name": name, "isthing": 1} for n, name in enumerate(["dog", "cat"])])
    )
    cfg.MODEL.CLASSES, cfg.DATASETS.IGNORE_UNKNOWN = str(two), True
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2
    (evaluator,) = build_evaluators(cfg, row[0], tmp_path / "out")
    evaluator.reset()
    for record in dataset_records(row[0]):
        known = [one for one in FOUND[record["image_id"]] if one[0] != NEWT]
        instances = found_boxes(row[0], known)
        ids = dataset_metadata(row[0]).thing_dataset_id_to_contiguous_id
        is_cat = instances.pred_classes == ids[CAT]
        instances.pred_classes = is_cat.long()  # dog, cat
        evaluator.process([record], [{"instances": instances}])
    values = evaluator.evaluate()["segm_lvis"]
    assert values["AP"] == pytest.approx((CAT_AP + DOG_AP) / 2)
    assert math.isnan(values["APr"])


def test_the_table_has_the_groups(register, tmp_path):
    row = register(MINIATURE)
    results = evaluate(masks_and_boxes(row), row[0], tmp_path / "out", FOUND)
    header, _, *lines = results_table(results).splitlines()
    columns = [each.strip() for each in header.strip("|").split("|")]
    assert columns == [
        "task", "AP", "APr", "APc", "APf", "AP_fixed", "APr_fixed", "APc_fixed", "APf_fixed",
    ]  # fmt: skip
    cells = [[each.strip() for each in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in cells] == ["boxes, LVIS", "instance, LVIS"]
    assert cells[0][1:5] == ["53.50", "50.50", "60.00", "50.00"]


def test_the_best_metric_is_of_lvis(register):
    cfg = masks_and_boxes(register(MINIATURE))
    assert best_metric(cfg) == "segm_lvis/AP"
    cfg.TEST.BEST_METRIC = "segm_lvis/APr_fixed"
    require_known_metric(cfg)
    cfg.TEST.BEST_METRIC = "segm/AP"
    with pytest.raises(ValueError, match="segm_lvis/AP, segm_lvis/AP50"):
        require_known_metric(cfg)


def test_fewer_detections_than_count_are_said(register, tmp_path, caplog):
    row = register(MINIATURE)
    cfg = masks_and_boxes(row)
    cfg.TEST.DETECTIONS_PER_IMAGE = 100
    build_evaluators(cfg, row[0], tmp_path / "out")
    assert "LVIS's AP counts 300 detections of a photo, TEST.DETECTIONS_PER_IMAGE is 100" in (
        caplog.text
    )


def test_without_the_package_it_is_said_what_to_install(register, tmp_path, monkeypatch):
    row = register(MINIATURE)
    monkeypatch.setitem(sys.modules, "lvis", None)
    with pytest.raises(ImportError, match=r"pip install 'freeseg\[lvis\]'"):
        build_evaluators(masks_and_boxes(row), row[0], tmp_path / "out")


def test_the_package_changes_neither_the_log_nor_numpy(register, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "lvis"]:
        monkeypatch.delitem(sys.modules, name)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    row = register(MINIATURE)
    evaluate(masks_and_boxes(row), row[0], tmp_path / "out", FOUND)
    assert root.handlers == []
    assert sys.modules["lvis.eval"].np is np
    assert logging.getLogger("lvis").level == logging.NOTSET


def test_a_loader_of_ones_own_has_to_say_what_is_verified(register, tmp_path, loader):
    row = register(MINIATURE)
    cfg = masks_and_boxes(row)
    records = dataset_records(row[0])
    known = {
        key: dataset_metadata(row[0]).get(key)
        for key in ("thing_classes", "thing_dataset_id_to_contiguous_id", "class_frequency")
    }

    def build(records, **values):
        name = loader(records, evaluator_type="lvis", **values)
        return build_evaluators(cfg, name, tmp_path / "own")

    with pytest.raises(ValueError, match=r"metadata need class_frequency.*'cat' is missing"):
        build(records, **{**known, "class_frequency": {}})
    bare = [{key: each[key] for key in each if key != "neg_category_ids"} for each in records]
    with pytest.raises(
        ValueError, match=r"records need 'neg_category_ids'; that of .*jpg has none"
    ):
        build(bare, **known)
    assert len(build(records, **known)) == 1
