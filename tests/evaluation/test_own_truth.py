"""Perfect predictions of own data are 100, however the data set is written; half of them is not.

The predictions find drawn boxes by their colours, so nothing of ours has read the annotation for
them.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle_codec

from freeseg.data import register_custom
from freeseg.data.records import dataset_records
from freeseg.evaluation import build_evaluators
from freeseg.evaluation.truth import Truth

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import (
    PARTS,
    Scene,
    answers,
    draw_scenes,
    instance_json,
    label_map,
    panoptic_json,
    write_json,
    write_scenes,
)

TRAINED = {"bolt": 1, "nut": 2, "washer": 3, "bench": 4}
CLASSES = tuple(TRAINED)  # of the model, in the order of its outputs


@pytest.fixture
def judged(cfg, tmp_path, request):
    """Evaluates a model's answers on a set; returns AP, PQ and mIoU, as far as they are given."""

    def run(name, classes=CLASSES, is_wrong=lambda mask: mask):
        evaluators = build_evaluators(cfg, name)
        results = {}
        for evaluator in evaluators:
            evaluator.reset()
            for record in dataset_records(name, merge_twins=cfg.DATASETS.MERGE_TWINS):
                inputs = [{key: record[key] for key in ("file_name", "image_id")}]
                evaluator.process(inputs, [answers(record["file_name"], classes, is_wrong)])
            results.update(evaluator.evaluate())
        run.results = results
        keys = (("segm", "AP"), ("panoptic_seg", "PQ"), ("sem_seg", "mIoU"))
        return {key: results[task][key] for task, key in keys if task in results}

    return run


@pytest.fixture
def registered(cfg, tmp_path, request):
    """Registers rows of DATASETS.CUSTOM under names of the test; the first is trained on."""

    def run(*contents, maps=""):
        rows = []
        for number, content in enumerate(contents):
            name = f"own_{number}_{request.node.name}"
            path = write_json(tmp_path / f"{name[:40]}.json", content)
            rows.append([name, path, str(tmp_path / "photos"), str(maps)])
        cfg.DATASETS.CUSTOM = rows
        cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (rows[0][0],), (rows[-1][0],)
        register_custom(rows)
        return rows[-1][0]

    return run


def renamed(content, names):
    for row in content["categories"]:
        row["name"] = names.get(row["name"], row["name"])
    return content


OTHER_LISTS = {
    "numbered otherwise": (TRAINED, {"bolt": 31, "nut": 4, "washer": 17, "bench": 2}, {}),
    "in another order": (TRAINED, {"washer": 0, "bench": 5, "bolt": 2, "nut": 1}, {}),
    "some of the classes": (("nut", "bench"), {"bench": 3, "nut": 88}, {}),
    "the first of them": (("bolt", "nut"), {"bolt": 1, "nut": 2}, {}),
    "another spelling": (
        TRAINED,
        {"nut": 1, "bolt": 2, "bench": 3, "washer": 4},
        {"bolt": "BOLT", "washer": "washer, flat ring", "bench": "bench-merged"},
    ),
}


@pytest.mark.parametrize(("drawn", "ids", "names"), OTHER_LISTS.values(), ids=OTHER_LISTS)
@pytest.mark.parametrize("kind", ["panoptic", "instance"])
def test_classes_are_joined_by_name(registered, judged, tmp_path, kind, drawn, ids, names):
    things = tuple(name for name in drawn if name != "bench")
    background = "bench" if "bench" in drawn else ""
    scenes = draw_scenes(tmp_path / "photos", names=things, background=background)
    maps = tmp_path / "maps"
    if kind == "panoptic":
        trained = panoptic_json(scenes, TRAINED | ids, tmp_path / "unused")
        trained["categories"] = [
            {"id": each, "name": name, "isthing": int(name != "bench")}
            for name, each in TRAINED.items()
        ]
        trained["annotations"][0]["segments_info"] = []
        name = registered(trained, renamed(panoptic_json(scenes, ids, maps), names), maps=maps)
    else:
        trained = instance_json(scenes, TRAINED)
        name = registered(trained, renamed(instance_json(scenes, ids), names))
    perfect = judged(name)
    assert perfect == pytest.approx(dict.fromkeys(perfect, 100))
    assert len(perfect) == (3 if kind == "panoptic" else 1)
    absent = set(CLASSES) - set(ids)
    for values in judged.results.values():
        assert not [key for key in values if key.partition("-")[2] in absent]


def test_pictures_of_results_have_names_of_all_classes_of_the_model(cfg, registered, tmp_path):
    scenes = draw_scenes(tmp_path / "photos", names=("bolt", "nut"))
    first = {"bolt": 1, "nut": 2}
    name = registered(instance_json(scenes, TRAINED), instance_json(scenes, first))
    assert Truth.of(cfg, name).metadata().thing_classes == ["bolt", "nut", "washer", "bench"]


@pytest.mark.parametrize("of_the_set", [{"bench": 7, "bolt": 0, "nut": 3}, {"bolt": 300, "nut": 2}])
def test_label_pngs_are_joined_by_name(cfg, tmp_path, judged, of_the_set):
    scenes = draw_scenes(tmp_path / "photos", names=("bolt", "nut"))
    rows = []
    for name, ids in (("labels_train", TRAINED), ("labels_test", of_the_set)):
        for scene in scenes:
            pixels = label_map(scene, ids).astype(np.uint16)
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / name / scene.file_name)
        categories = [{"id": each, "name": one, "isthing": 1} for one, each in ids.items()]
        path = write_json(tmp_path / f"{name}.json", {"categories": categories})
        name = f"{name}_{len(of_the_set)}"
        rows.append([name, path, str(tmp_path / "photos"), str(tmp_path / name[:-2])])
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TRAIN = rows, (rows[0][0],)
    assert judged(rows[1][0]) == {"mIoU": 100}
    assert f"IoU-{CLASSES[2]}" not in judged.results["sem_seg"]


def test_unknown_classes_are_refused_by_name_or_left_out(cfg, registered, judged, tmp_path):
    scenes = draw_scenes(tmp_path / "photos", names=("gear", "bolt", "nut"), background="felt")
    maps = tmp_path / "maps"
    trained = panoptic_json(scenes[:0], TRAINED, maps)
    trained["annotations"] = [{"image_id": 1, "file_name": "part_0.png", "segments_info": []}]
    ids = {"gear": 1, "felt": 2, "nut": 3, "bolt": 4}
    name = registered(trained, panoptic_json(scenes, ids, maps), maps=maps)
    with pytest.raises(ValueError, match=f"{name} has classes .* not trained on: gear, felt; it "):
        judged(name)
    cfg.DATASETS.IGNORE_UNKNOWN = True
    assert judged(name) == pytest.approx({"AP": 100, "PQ": 100, "mIoU": 100})
    assert "AP-gear" not in judged.results["segm"]


def test_a_set_of_nothing_that_is_known_is_refused_in_any_case(cfg, registered, judged, tmp_path):
    scenes = draw_scenes(tmp_path / "photos", names=("gear",))
    name = registered(instance_json([], TRAINED), instance_json(scenes, {"gear": 1}))
    cfg.DATASETS.IGNORE_UNKNOWN = True
    with pytest.raises(ValueError, match="not trained on: gear; it knows bolt, nut"):
        judged(name)


def test_found_objects_of_a_class_that_the_set_does_not_list_cost_nothing_but_their_pixels(
    registered, judged, tmp_path
):
    scenes = draw_scenes(tmp_path / "photos", background="bench")  # with washers
    maps, listed = tmp_path / "maps", {"bench": 1, "nut": 2, "bolt": 3}
    trained = panoptic_json(scenes, TRAINED, maps)
    content = panoptic_json(scenes, {**listed, "washer": 1}, maps)
    content["categories"] = [row for row in content["categories"] if row["name"] != "washer"]
    bench = washers = 0
    for row, scene in zip(content["annotations"], scenes):  # washers lie on the bench: one segment
        ids = scene.ids()
        last = len(scene.boxes) + 1
        numbers = [n for n, kind in enumerate(scene.kinds(), 1) if kind == "washer"]
        washers += int(np.isin(ids, numbers).sum())
        bench += int((ids == last).sum())
        ids[np.isin(ids, numbers)] = last
        channels = [ids * 70_001 >> shift & 255 for shift in (0, 8, 16)]
        Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(maps / scene.file_name)
        row["segments_info"] = [
            one for one in row["segments_info"] if one["id"] // 70_001 not in numbers
        ]
    found = judged(registered(trained, content, maps=maps))
    share = bench / (bench + washers)
    assert found["AP"] == pytest.approx(100)
    assert found["mIoU"] == pytest.approx(100 * (2 + share) / 3)
    quality = judged.results["panoptic_seg"]
    assert (quality["PQ_th"], quality["RQ"]) == pytest.approx((100, 100))
    assert 100 * share - 2 < quality["PQ_st"] < 100


FIELDS = ("id", "area", "bbox", "iscrowd")
STRANGE_ROWS = {
    "ids from 0": lambda row, n: row.update(id=n),
    "no ids": lambda row, n: row.pop("id"),
    "some ids": lambda row, n: row.pop("id") if n % 3 else None,
    "ids are texts": lambda row, n: row.update(id=f"box-{n}"),
    "ids are numbers with a point": lambda row, n: row.update(id=float(n)),
    "no area": lambda row, n: row.pop("area"),
    "area negative, huge or a text": lambda row, n: row.update(area=(-4, 1e9, "12")[n % 3]),
    "no box": lambda row, n: row.pop("bbox"),
    "box is null": lambda row, n: row.update(bbox=None),
    "box elsewhere": lambda row, n: row.update(bbox=[60, 40, 1, 1]),
    "no crowd flag": lambda row, n: row.pop("iscrowd"),
    "crowd flag is false or 0.0": lambda row, n: row.update(iscrowd=False if n % 2 else 0.0),
    "a mask and no more": lambda row, n: [
        row.pop(key) for key in ("id", "area", "bbox", "iscrowd")
    ],
    "a click beside the mask": lambda row, n: row["segmentation"].append(
        [5, 5, 8, 8][: 2 * (n % 3)]
    ),
    "categories with a point": lambda row, n: row.update(category_id=float(row["category_id"])),
}


@pytest.mark.parametrize("change", STRANGE_ROWS.values(), ids=STRANGE_ROWS)
def test_rows_of_every_tool_are_judged_rightly(registered, judged, tmp_path, change):
    content = instance_json(draw_scenes(tmp_path / "photos", seed=8), TRAINED)
    for number, row in enumerate(content["annotations"]):
        change(row, number)
    assert judged(registered(content)) == pytest.approx({"AP": 100})


def test_a_mask_of_runs_is_as_good_as_a_polygon(registered, judged, tmp_path):
    scenes = draw_scenes(tmp_path / "photos")
    content = instance_json(scenes, TRAINED)
    for row in content["annotations"][::2]:
        size = list(scenes[0].size)
        runs = rle_codec.merge(rle_codec.frPyObjects(row["segmentation"], *size))
        row["segmentation"] = {"size": size, "counts": runs["counts"].decode()}
        del row["area"], row["bbox"]
    assert judged(registered(content)) == pytest.approx({"AP": 100})


IMAGE_IDS = {
    "texts": lambda n: f"scan {n}",
    "from 0": lambda n: n,
    "with a point": lambda n: n + 1.0,
    "numbers": lambda n: 5 * n + 7,
}


@pytest.mark.parametrize("id_of", IMAGE_IDS.values(), ids=IMAGE_IDS)
@pytest.mark.parametrize("kind", ["panoptic", "instance"])
def test_files_of_results_have_the_ids_of_the_set(cfg, registered, judged, tmp_path, kind, id_of):
    scenes, maps = draw_scenes(tmp_path / "photos", background="bench"), tmp_path / "maps"
    listed = {"bench": 50, "nut": 41, "bolt": 6, "washer": 12}
    if kind == "panoptic":
        content = panoptic_json(scenes, listed, maps)
    else:
        content = instance_json(scenes, listed)
    for row in content["images"]:
        row["id"] = id_of(row["id"] - 10)
    for row in content["annotations"]:
        row["image_id"] = id_of(row["image_id"] - 10)
    classes = ("bolt", "washer", "nut", "bench")  # things first, then by id
    name = registered(content, maps=maps if kind == "panoptic" else "")
    found = judged(name, classes)
    assert found == pytest.approx(dict.fromkeys(found, 100))
    folder = Path(cfg.OUTPUT_DIR) / "inference" / name
    wanted = {id_of(number) for number in range(3)}
    rows = json.loads((folder / "coco_instances_results.json").read_text())
    assert {row["image_id"] for row in rows} == wanted
    assert {row["category_id"] for row in rows} == {6, 12, 41}
    if kind == "panoptic":
        rows = json.loads((folder / "predictions.json").read_text())["annotations"]
        assert {row["image_id"] for row in rows} == wanted
        used = {segment["category_id"] for row in rows for segment in row["segments_info"]}
        assert used == set(listed.values())
        regions = json.loads((folder / "sem_seg_predictions.json").read_text())
        assert {row["category_id"] for row in regions} == set(listed.values())


@pytest.mark.parametrize("area", [None, 3, -7, "large", 10**7])
def test_areas_of_panoptic_segments_are_those_of_the_png(registered, judged, tmp_path, area):
    scenes, maps = draw_scenes(tmp_path / "photos", background="felt"), tmp_path / "maps"
    content = panoptic_json(scenes, {"felt": 1, **dict(zip(PARTS, (7, 8, 9)))}, maps)
    for row in content["annotations"]:
        for segment in row["segments_info"]:
            segment.pop("area") if area is None else segment.update(area=area, bbox=[0, 0, 1, 1])
    found = judged(registered(content, maps=maps), (*PARTS, "felt"))
    assert found == pytest.approx({"AP": 100, "PQ": 100, "mIoU": 100})


def test_the_limit_of_detections_follows_its_key_and_is_said(
    cfg, registered, judged, tmp_path, caplog
):
    boxes = [("nut", 7 * (n % 13), 7 * (n // 13), 5, 5) for n in range(130)]
    scenes = [Scene("cells.png", tuple(boxes), size=(72, 96))]
    write_scenes(tmp_path / "photos", scenes)
    name = registered(instance_json(scenes, {"nut": 4}))
    cfg.TEST.DETECTIONS_PER_IMAGE = 30  # under COCO's 100: COCO's numbers stay what they are
    with caplog.at_level(logging.WARNING):
        found = judged(name, ("nut",))
    # 100 of 130 are found: the precision is 1 at the 77 recalls 0, 0.01 ... 0.76, and 0 at 24
    assert found["AP"] == pytest.approx(100 * 77 / 101)
    assert "up to 130 objects, AP counts its 100 best" in caplog.text
    assert "TEST.DETECTIONS_PER_IMAGE 130 counts all" in caplog.text
    caplog.clear()
    cfg.TEST.DETECTIONS_PER_IMAGE = 140
    with caplog.at_level(logging.WARNING):
        assert judged(name, ("nut",)) == pytest.approx({"AP": 100})
    assert judged.results["segm"]["detections"] == 140
    assert "DETECTIONS_PER_IMAGE" not in caplog.text


def test_photos_of_one_name_have_a_prediction_each(cfg, registered, judged, tmp_path):
    names = ("x/part.png", "y/part.png", "y/PART_2.png")
    first = draw_scenes(tmp_path / "unused", background="bench")
    scenes = [Scene(name, one.boxes, "bench") for name, one in zip(names, first)]
    write_scenes(tmp_path / "photos", scenes)
    maps = tmp_path / "maps"
    name = registered(panoptic_json(scenes, TRAINED, maps), maps=maps)
    assert judged(name) == pytest.approx({"AP": 100, "PQ": 100, "mIoU": 100})
    predicted = Path(cfg.OUTPUT_DIR) / "inference" / name / "predictions.json"
    files = [row["file_name"] for row in json.loads(predicted.read_text())["annotations"]]
    assert len({file.lower() for file in files}) == 3
    assert files[0] == "part.png"


def test_a_photo_under_two_ids_is_judged_once_where_that_is_asked_for(
    cfg, registered, judged, tmp_path
):
    content = instance_json(draw_scenes(tmp_path / "photos", 2), TRAINED)
    content["images"].append({**content["images"][1], "id": 99})
    for row in content["annotations"][-2:]:
        row["image_id"] = 99
    name = registered(content)
    cfg.DATASETS.MERGE_TWINS = True
    assert judged(name) == pytest.approx({"AP": 100})
    assert len(Truth.of(cfg, name).records) == 2


def without_the_last_quarter(mask):
    """The mask without its lowest rows; the boxes of this test are 8 or 12 rows high."""
    rows = np.flatnonzero(mask.any(1))
    result = mask.copy()
    result[rows[-1] - len(rows) // 4 + 1 :] = False
    return result


def test_three_quarters_of_every_object_give_what_one_computes_by_hand(
    registered, judged, tmp_path
):
    boxes = (("bolt", 3, 4, 10, 8), ("nut", 20, 4, 9, 12), ("washer", 40, 20, 12, 8))
    scenes = [Scene("a.png", boxes), Scene("b.png", boxes[::-1])]
    write_scenes(tmp_path / "photos", scenes)
    maps = tmp_path / "maps"
    ids = {"washer": 1, "bolt": 2, "nut": 3}
    trained = {**TRAINED}
    del trained["bench"]
    contents = [panoptic_json(scenes, each, maps) for each in (trained, ids)]
    found = judged(registered(*contents, maps=maps), PARTS, without_the_last_quarter)
    # IoU 0.75 passes 6 of COCO's 10 thresholds; what is lost is called by no class: the first's
    assert found["AP"] == pytest.approx(60)
    assert found["PQ"] == pytest.approx(75)
    lost = {"nut": 27, "washer": 24}
    bolt = 80 / (80 + sum(lost.values()))
    assert judged.results["sem_seg"]["IoU-nut"] == pytest.approx(75)
    assert judged.results["sem_seg"]["IoU-bolt"] == pytest.approx(100 * bolt)
    assert found["mIoU"] == pytest.approx(100 * (0.75 + 0.75 + bolt) / 3)


def test_swapped_classes_are_not_perfect(registered, judged, tmp_path):
    content = instance_json(draw_scenes(tmp_path / "photos"), TRAINED)
    assert judged(registered(content), ("nut", "bolt", "washer"))["AP"] == pytest.approx(100 / 3)
