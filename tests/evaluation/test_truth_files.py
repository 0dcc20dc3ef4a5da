"""Whole files of truth and of predictions, on sets whose ids are unlike class numbers.

Expected rows are counted with numpy from what is drawn; masks are read back by pycocotools.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as codec

from freeseg.data.records import dataset_records
from freeseg.evaluation import build_evaluators
from freeseg.evaluation.instance_truth import coco_content
from freeseg.evaluation.panoptic_evaluator import panoptic_content
from freeseg.evaluation.truth import Truth

sys.path.insert(0, str(Path(__file__).parents[1]))
from drawn_boxes import Scene, answers, instance_json, write_ids, write_json, write_scenes

CLASSES = ("bench", "bolt", "nut", "washer", "felt")  # in the order of the model's outputs
IDS = {"bench": 50, "bolt": 6, "nut": 41, "washer": 12, "felt": 0}
THINGS = [1, 2, 3]
SCENES = (
    Scene("x/part.png", (("nut", 3, 5, 9, 4), ("washer", 20, 2, 7, 11)), "bench", (23, 31)),
    Scene("y/part.png", (("nut", 1, 2, 3, 4), ("bolt", 9, 8, 6, 5)), "felt", (19, 47)),
    Scene("y/other.png", (("washer", 2, 3, 12, 6), ("nut", 30, 4, 5, 8)), "", (17, 41)),
)
IMAGE_IDS = ("left", "right", "third")
CROWD = (1, 1)  # of the second scene the second box


def segments_of(number: int) -> list[dict]:
    """Whole rows of a scene's segments, in the dataset's own ids."""
    scene = SCENES[number]
    rows = []
    for place, kind in enumerate(scene.kinds(), 1):
        mask = scene.ids() == place
        ys, xs = np.nonzero(mask)
        sides = int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1
        row = {"id": 70_001 * place, "category_id": IDS[kind]}
        row["iscrowd"] = int((number, place - 1) == CROWD)
        rows.append(
            {**row, "area": int(mask.sum()), "bbox": [int(xs.min()), int(ys.min()), *sides]}
        )
    return rows


def panoptic_records(folder: Path) -> list[dict]:
    write_scenes(folder / "photos", list(SCENES))
    records = []
    for number, (scene, image_id) in enumerate(zip(SCENES, IMAGE_IDS)):
        png = folder / "maps" / scene.file_name
        write_ids(png, scene.ids() * 70_001)
        rows = [
            {"id": row["id"], "category_id": CLASSES.index(kind), "iscrowd": row["iscrowd"]}
            for kind, row in zip(scene.kinds(), segments_of(number))
        ]
        rows.append({"id": 5, "category_id": 3})  # has no pixel
        photo = str(folder / "photos" / scene.file_name)
        record = {"file_name": photo, "image_id": image_id, "pan_seg_file_name": str(png)}
        records.append({**record, "segments_info": rows})
    return records


@pytest.fixture
def registered(cfg, loader, tmp_path):
    """The scenes as a panoptic set of somebody's own loader; `more` goes into its metadata."""

    def register(**more) -> str:
        numbers = {IDS[name]: label for label, name in enumerate(CLASSES)}
        name = loader(
            panoptic_records(tmp_path),
            stuff_classes=list(CLASSES),
            thing_classes=[CLASSES[label] for label in THINGS],
            stuff_dataset_id_to_contiguous_id=numbers,
            thing_dataset_id_to_contiguous_id={IDS[CLASSES[label]]: label for label in THINGS},
            **more,
        )
        cfg.DATASETS.TRAIN = (name,)
        return name

    return register


def sizes() -> list[dict[str, int]]:
    return [{"height": scene.size[0], "width": scene.size[1]} for scene in SCENES]


def test_a_panoptic_truth_file_row_by_row(cfg, registered, tmp_path):
    truth = Truth.of(cfg, registered())
    found = panoptic_content(truth, str(tmp_path / "maps"))
    assert found == {
        "images": [
            {"id": image_id, "file_name": Path(scene.file_name).name, **size}
            for image_id, scene, size in zip(IMAGE_IDS, SCENES, sizes())
        ],
        "annotations": [
            {"image_id": image_id, "file_name": scene.file_name, "segments_info": segments_of(n)}
            for n, (image_id, scene) in enumerate(zip(IMAGE_IDS, SCENES))
        ],
        "categories": [
            {"id": IDS[name], "name": name, "isthing": int(label in THINGS)}
            for label, name in enumerate(CLASSES)
        ],
    }


def of_runs(row: dict) -> np.ndarray:
    return codec.decode(row["segmentation"]).astype(bool)


def test_an_instance_truth_file_of_segments_row_by_row(cfg, registered):
    truth = Truth.of(cfg, registered())
    numbers = {"left": 8, "third": 2, "right": 5}
    found = coco_content(truth, THINGS, numbers, from_panoptic=True)
    assert found["images"] == [
        {"id": numbers[image_id], "file_name": Path(scene.file_name).name, **size}
        for image_id, scene, size in zip(IMAGE_IDS, SCENES, sizes())
    ]
    assert found["categories"] == [{"id": IDS[CLASSES[n]], "name": CLASSES[n]} for n in THINGS]
    expected = [
        (numbers[image_id], row, scene.ids() * 70_001 == row["id"])
        for n, (image_id, scene) in enumerate(zip(IMAGE_IDS, SCENES))
        for row, _ in zip(segments_of(n), scene.boxes)
    ]
    assert len(found["annotations"]) == len(expected) == 6
    for place, (row, (image_id, wanted, mask)) in enumerate(zip(found["annotations"], expected), 1):
        np.testing.assert_array_equal(of_runs(row), mask)
        del row["segmentation"]
        assert row == {**wanted, "id": place, "image_id": image_id}


def test_an_instance_file_beside_a_panoptic_one_may_list_more_photos(cfg, registered, tmp_path):
    extra = Scene("x/unjudged.png", (("bolt", 1, 1, 5, 5),), "bench", (23, 31))
    scenes = [extra, *SCENES]
    content = instance_json(scenes, {name: IDS[name] for name in ("bolt", "nut", "washer")})
    for row in (*content["images"], *content["annotations"]):
        key = "id" if "file_name" in row else "image_id"
        row[key] = ("more", *IMAGE_IDS)[row[key] - 10]
    path = write_json(tmp_path / "instances.json", content)
    name = registered(json_file=path, image_root=str(tmp_path / "photos"))
    write_scenes(tmp_path / "photos", [extra])
    truth = Truth.of(cfg, name)
    numbers = {image_id: number for number, image_id in enumerate(IMAGE_IDS, 1)}
    found = coco_content(truth, THINGS, numbers, from_panoptic=False)
    assert [row["id"] for row in found["images"]] == [1, 2, 3]
    assert [{key: row[key] for key in ("height", "width")} for row in found["images"]] == sizes()
    boxes = [
        (number, IDS[kind], [float(side) for side in box], box[2] * box[3])
        for number, scene in enumerate(SCENES, 1)
        for kind, *box in scene.boxes
    ]
    keys = ("image_id", "category_id", "bbox", "area")
    assert [tuple(row[key] for key in keys) for row in found["annotations"]] == boxes
    assert [row["iscrowd"] for row in found["annotations"]] == [0] * 6


def without_a_row(mask):
    """A found box without its lowest row, so that predictions are no copies of the truth."""
    shorter = mask.copy()
    shorter[np.flatnonzero(mask.any(1))[-1]] = False
    return shorter


@pytest.fixture
def evaluated(cfg, registered):
    """The folder of what the evaluators write, their results, and the answers by image id."""

    def run(is_wrong=without_a_row):
        name = registered()
        results, given = {}, {}
        for evaluator in build_evaluators(cfg, name):
            evaluator.reset()
            for record in dataset_records(name):
                inputs = [{key: record[key] for key in ("file_name", "image_id")}]
                answer = answers(record["file_name"], CLASSES, is_wrong)
                given[record["image_id"]] = answers(record["file_name"], CLASSES, is_wrong)
                evaluator.process(inputs, [answer])
            results.update(evaluator.evaluate())
        return Path(cfg.OUTPUT_DIR) / "inference" / name, results, given

    return run


def test_files_of_predictions_hold_what_was_predicted(evaluated):
    folder, _, given = evaluated()
    rows = json.loads((folder / "coco_instances_results.json").read_text())
    found = [(row["image_id"], row["category_id"], of_runs(row).tolist()) for row in rows]
    assert found == [
        (image_id, IDS[CLASSES[label]], mask.tolist())
        for image_id, answer in given.items()
        for label, mask in zip(
            answer["instances"].pred_classes.tolist(), answer["instances"].pred_masks
        )
    ]
    rows = json.loads((folder / "sem_seg_predictions.json").read_text())
    maps = {Path(row["file_name"]).parent.name + Path(row["file_name"]).name: {} for row in rows}
    for row in rows:
        key = Path(row["file_name"]).parent.name + Path(row["file_name"]).name
        maps[key][row["category_id"]] = of_runs(row)
    for scene, answer in zip(SCENES, given.values()):
        labels = answer["sem_seg"].argmax(0).numpy()
        expected = {IDS[CLASSES[label]]: labels == label for label in np.unique(labels).tolist()}
        found = maps[scene.file_name.replace("/", "")]
        assert found.keys() == expected.keys()
        assert all((found[key] == expected[key]).all() for key in expected)
    rows = json.loads((folder / "predictions.json").read_text())["annotations"]
    kinds = {
        row["image_id"]: sorted(one["category_id"] for one in row["segments_info"]) for row in rows
    }
    assert kinds == {
        image_id: sorted(IDS[CLASSES[row["category_id"]]] for row in answer["panoptic_seg"][1])
        for image_id, answer in given.items()
    }


def test_semantic_scores_are_those_of_a_confusion_matrix(evaluated):
    _, results, given = evaluated()
    confusion = np.zeros((len(CLASSES), len(CLASSES)))  # [truth, found]
    for scene, answer in zip(SCENES, given.values()):
        table = np.array([-1, *(CLASSES.index(kind) for kind in scene.kinds())])
        truth, labels = table[scene.ids()], answer["sem_seg"].argmax(0).numpy()
        for one, other in zip(truth[truth >= 0], labels[truth >= 0]):
            confusion[one, other] += 1
    hits, true, found = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    iou, accuracy = hits / (true + found - hits), hits / true
    values = {
        "mIoU": iou.mean(),
        "fwIoU": (iou * true).sum() / true.sum(),
        "mACC": accuracy.mean(),
        "pACC": hits.sum() / true.sum(),
        **{f"IoU-{name}": value for name, value in zip(CLASSES, iou)},
        **{f"ACC-{name}": value for name, value in zip(CLASSES, accuracy)},
    }
    scores = {key: value for key, value in results["sem_seg"].items() if "Boundary" not in key}
    scores = {key: value for key, value in scores.items() if not key.startswith("min(")}
    assert scores == pytest.approx({key: 100 * value for key, value in values.items()})
    assert min(values.values()) < 0.95
