"""`Segmentation` reads a model's output, draws it, and its files hold exactly what it says."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detectron2.structures import Boxes, Instances
from freeseg.structures import Vocabulary
from freeseg.visualization import (
    NamedSegment,
    PanopticSegments,
    Segmentation,
    class_colors,
    overlay,
)
from freeseg.visualization.summary import describe, summarize

sys.path.insert(0, str(Path(__file__).parent))
from sample import CATEGORY_IDS, HEIGHT, IS_THING, NAMES, WIDTH, sample_result

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[2] / "../shared"))


@pytest.fixture
def result() -> Segmentation:
    return sample_result()


def only(result: Segmentation, task: str) -> Segmentation:
    fields = {"panoptic": "panoptic", "instance": "instances", "semantic": "semantic"}
    others = {name: None for key, name in fields.items() if key != task}
    return dataclasses.replace(result, **others)


def test_a_model_s_output_becomes_named_arrays(result: Segmentation) -> None:
    assert result.tasks == ("panoptic", "instance", "semantic")
    assert result.panoptic.segment_ids.dtype == np.int32
    assert result.panoptic.segments[0] == NamedSegment(70001, 1, "tree", False, 0.75, 20 * WIDTH)
    assert result.panoptic.segments[1].score is None
    assert [segment.area for segment in result.panoptic.segments[2:]] == [320 - 80, 320, 80]
    assert result.instances.names == ("car", "car", "dog")
    assert result.instances.masks.dtype == bool
    assert result.instances.masks.shape == (3, HEIGHT, WIDTH)
    assert len(result.instances) == 3
    np.testing.assert_array_equal(np.unique(result.semantic), [0, 1, 3])


def test_it_is_frozen_and_checks_its_sizes(result: Segmentation) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.semantic = None
    with pytest.raises(ValueError, match=r"semantic result of size \(3, 3\) does not belong"):
        dataclasses.replace(result, semantic=np.zeros((3, 3), dtype=np.int64))
    with pytest.raises(ValueError, match="got 2 ids and 4 classes"):
        dataclasses.replace(result, category_ids=(1, 2))


def test_a_task_without_a_result_is_refused(result: Segmentation) -> None:
    semantic = only(result, "semantic")
    with pytest.raises(ValueError, match="'panoptic', only for semantic"):
        semantic.overlay("panoptic")
    with pytest.raises(ValueError, match="wanted one of the tasks"):
        semantic.overlay("panoptics")
    np.testing.assert_array_equal(semantic.overlay(), semantic.overlay("semantic"))


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
@pytest.mark.parametrize("size", [(1, 1), (7, 200), (32, 32), (500, 30), (460, 640)])
def test_overlays_of_any_size_show_their_classes(task: str, size: tuple[int, int]) -> None:
    columns = np.indices(size)[1]
    labels = torch.from_numpy((columns * 4 // size[1]).astype(np.int64))
    masks = torch.stack([labels == label for label in range(4)])
    output = {
        "sem_seg": masks.float(),
        "panoptic_seg": (
            (labels + 1).int(),
            [{"id": i + 1, "category_id": i, "isthing": IS_THING[i]} for i in range(4)],
        ),
        "instances": Instances(
            size,
            pred_masks=masks,
            pred_boxes=Boxes(torch.zeros(4, 4)),
            scores=torch.full((4,), 0.75),
            pred_classes=torch.arange(4),
        ),
    }
    photo = np.full((*size, 3), 128, dtype=np.uint8)
    result = Segmentation.from_detectron2(photo, output, Vocabulary(NAMES, IS_THING))
    picture = result.overlay(task)
    assert picture.dtype == np.uint8
    factor = max(1, 448 // max(size))
    assert picture.shape[0] >= size[0] * factor
    assert picture.size > 3 * size[0] * size[1] * factor**2
    swatches = (picture.reshape(-1, 1, 3) == np.array(class_colors(4))).all(-1).sum(0)
    shown = np.isin(np.arange(4), labels)
    np.testing.assert_array_equal(swatches > 50, shown)


def test_an_overlay_leaves_the_rest_of_the_photo_alone() -> None:
    photo = np.random.default_rng(1).integers(0, 256, (460, 460, 3), dtype=np.uint8)
    ids = np.zeros((460, 460), dtype=np.int32)
    ids[100:200, 100:300] = 9
    segment = NamedSegment(9, 0, "car", True, 0.9, 20000)
    panoptic = PanopticSegments(ids, (segment,))
    vocabulary = Vocabulary(NAMES, IS_THING)
    picture = Segmentation(photo, vocabulary, CATEGORY_IDS, panoptic=panoptic).overlay()
    is_changed = (picture[:460, :460] != photo).any(axis=-1)
    assert is_changed[100:200, 100:300].mean() > 0.99
    is_changed[97:203, 97:303] = False
    assert not is_changed.any()


def test_unlikely_instances_are_not_drawn(result: Segmentation) -> None:
    result = only(result, "instance")
    few, all_of_them = result.overlay(min_score=0.5), result.overlay(min_score=0.2)
    unlikely = result.instances.masks[1]
    factor = 448 // WIDTH
    rows, columns = (index * factor + factor // 2 for index in np.nonzero(unlikely))
    assert (few[rows, columns] != all_of_them[rows, columns]).any(axis=-1).mean() > 0.9
    none = result.overlay(min_score=1.01)
    enlarged = none[: HEIGHT * factor, : WIDTH * factor]
    centre = enlarged[factor // 2 :: factor, factor // 2 :: factor].astype(int)
    assert np.abs(centre - result.image).mean() < 12  # the photo, enlarged smoothly


def test_label_pictures_have_the_flat_class_colors(result: Segmentation) -> None:
    picture = result.label_picture("semantic")
    np.testing.assert_array_equal(picture, np.array(class_colors(4), np.uint8)[result.semantic])
    panoptic = result.label_picture("panoptic")
    assert (panoptic[result.panoptic.segment_ids == 0] == 0).all()
    cars = [panoptic[result.panoptic.segment_ids == number][0] for number in (256, 65536)]
    assert (cars[0] != cars[1]).any()


def test_saving_returns_the_paths_of_all_that_was_written(result, tmp_path: Path) -> None:
    paths = result.save(tmp_path / "new" / "folder", "photo")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        path.name for path in paths.values()
    }
    assert set(paths) == {
        *(f"{task}_overlay" for task in result.tasks),
        *("panoptic", "panoptic_colors", "panoptic_json"),
        *("semantic", "semantic_colors", "semantic_json", "instances_json"),
    }
    assert set(only(result, "instance").save(tmp_path, "x")) == {
        "instance_overlay",
        "instances_json",
    }
    stored = np.asarray(Image.open(paths["panoptic_overlay"]))
    np.testing.assert_array_equal(stored, result.overlay("panoptic"))


@pytest.mark.parametrize(("num_classes", "kind"), [(4, np.uint8), (255, np.uint8), (256, "16 bit")])
def test_label_maps_keep_every_class(num_classes: int, kind, tmp_path: Path) -> None:
    labels = np.arange(num_classes, dtype=np.int64).reshape(1, -1)
    vocabulary = Vocabulary(tuple(map(str, range(num_classes))), (False,) * num_classes)
    photo = np.zeros((1, num_classes, 3), dtype=np.uint8)
    result = Segmentation(photo, vocabulary, tuple(range(num_classes)), semantic=labels)
    paths = result.save(tmp_path, "x")
    stored = Image.open(paths["semantic"])
    assert (stored.mode == "L") == (kind == np.uint8)
    np.testing.assert_array_equal(np.asarray(stored), labels)
    about = json.loads(paths["semantic_json"].read_text())
    assert about["unlabelled"] == (255 if kind == np.uint8 else 65535)
    assert [row["number"] for row in about["classes"]] == list(range(num_classes))


def test_a_file_beside_a_label_map_says_which_number_is_which_class(result, tmp_path) -> None:
    paths = result.save(tmp_path, "photo", formats="labelmap")
    about = json.loads((tmp_path / "photo_semantic.json").read_text())
    names = {row["number"]: row["name"] for row in about["classes"]}
    numbers = np.asarray(Image.open(paths["semantic"]))
    assert [names[numbers[30, column]] for column in (10, 30)] == ["car", "road"]
    assert names[numbers[3, 3]] == "tree"
    assert [row["isthing"] for row in about["classes"]] == [1, 0, 1, 0]
    colors = np.asarray(Image.open(paths["semantic_colors"]))
    assert colors[3, 3].tolist() == about["classes"][numbers[3, 3]]["color"]


def test_panopticapi_reads_the_panoptic_files(result: Segmentation, tmp_path: Path) -> None:
    from panopticapi.utils import rgb2id

    paths = result.save(tmp_path, "photo", image_id=139)
    content = json.loads(paths["panoptic_json"].read_text())
    assert content["images"] == [
        {"id": 139, "file_name": "photo.png", "height": HEIGHT, "width": WIDTH}
    ]
    [annotation] = content["annotations"]
    assert annotation["image_id"] == 139
    stored = rgb2id(np.asarray(Image.open(tmp_path / annotation["file_name"])))
    np.testing.assert_array_equal(stored, result.panoptic.segment_ids)
    rows = {row["id"]: row for row in annotation["segments_info"]}
    assert rows[70001]["category_id"] == 184
    assert rows[65536] == {
        **{"id": 65536, "category_id": 3, "iscrowd": 0, "area": 320, "score": 0.25},
        "bbox": [40, 24, 20, 16],
    }
    assert "score" not in rows[2]
    categories = {row["id"]: (row["name"], row["isthing"]) for row in content["categories"]}
    assert categories == {3: ("car", 1), 184: ("tree", 0), 18: ("dog", 1), 149: ("road", 0)}


def test_panopticapi_finds_the_files_equal_to_themselves(result, tmp_path: Path) -> None:
    from panopticapi.evaluation import pq_compute

    paths = result.save(tmp_path, "photo")
    files, folder = str(paths["panoptic_json"]), str(tmp_path)
    quality = pq_compute(files, files, folder, folder)
    assert quality["All"]["pq"] == 1.0
    assert quality["All"]["n"] == 4


def test_coco_masks_decode_to_the_masks(result: Segmentation) -> None:
    rows = result.to_coco(image_id=7)["instances"]
    assert [row["category_id"] for row in rows] == [3, 3, 18]
    assert [row["score"] for row in rows] == [0.75, 0.25, 1.0]
    assert rows[0]["bbox"] == [4.0, 24.0, 20.0, 16.0]
    assert {row["image_id"] for row in rows} == {7}
    for row, mask in zip(json.loads(json.dumps(rows)), result.instances.masks):
        np.testing.assert_array_equal(rle_codec.decode(row["segmentation"]), mask)


def test_coco_evaluates_the_instances_to_100(result: Segmentation, tmp_path: Path) -> None:
    paths = result.save(tmp_path, "photo", image_id=7)
    truth = COCO()
    rows = json.loads(paths["instances_json"].read_text())
    truth.dataset = {
        "images": [{"id": 7, "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {**row, "id": index + 1, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]}
            for index, row in enumerate(rows)
        ],
    }
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(str(paths["instances_json"])), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_to_coco_has_only_what_there_is(result: Segmentation) -> None:
    assert set(result.to_coco()) == {"panoptic", "instances"}
    assert only(result, "semantic").to_coco() == {}


def test_coco_files_name_the_photo_s_own_file(result: Segmentation, tmp_path: Path) -> None:
    named = dataclasses.replace(result, file_name="street view.jpeg")
    [image] = json.loads(named.save(tmp_path, "x")["panoptic_json"].read_text())["images"]
    assert image["file_name"] == "street view.jpeg"
    content = named.to_coco()["panoptic"]
    assert content["images"][0]["file_name"] == "street view.jpeg"
    assert content["annotations"][0]["file_name"] == "street view_panoptic.png"
    assert named.to_coco(1, "y.png")["panoptic"]["images"][0]["file_name"] == "y.png"
    assert result.to_coco()["panoptic"]["images"][0]["file_name"] == "image.png"


def test_summaries_are_sorted_plain_values(result: Segmentation) -> None:
    summary = json.loads(json.dumps(summarize(result, min_score=0.5)))
    assert [row["name"] for row in summary["panoptic"]][:2] == ["tree", "road"]
    assert [(row["name"], row["score"]) for row in summary["instance"]] == [
        ("dog", 1.0),
        ("car", 0.75),
    ]
    assert summary["instance"][0]["box"] == [10.0, 30.0, 20.0, 38.0]
    assert sum(row["area"] for row in summary["semantic"]) == HEIGHT * WIDTH
    assert describe(result) == "tree, road, car x2, dog"
    assert describe(result, max_names=2) == "tree, road, 2 more"
    assert describe(only(result, "instance"), min_score=1.5) == "nothing found"


@pytest.mark.skipif(
    not (SHARED / "data/coco_panoptic_sample").is_dir(), reason="no COCO panoptic sample"
)
def test_real_coco_annotations_survive_the_round_trip(tmp_path: Path) -> None:
    from panopticapi.evaluation import pq_compute
    from panopticapi.utils import rgb2id

    source = SHARED / "data/coco_panoptic_sample"
    truth = json.loads((source / "panoptic_examples.json").read_text())
    numbers = [row["id"] for row in truth["categories"]]
    names = tuple(row["name"] for row in truth["categories"])
    vocabulary = Vocabulary(names, tuple(bool(row["isthing"]) for row in truth["categories"]))
    for annotation in truth["annotations"]:
        image = next(row for row in truth["images"] if row["id"] == annotation["image_id"])
        ids = rgb2id(np.asarray(Image.open(source / "panoptic_examples" / annotation["file_name"])))
        infos = [
            {
                "id": row["id"],
                "category_id": numbers.index(row["category_id"]),
                "isthing": vocabulary.is_thing[numbers.index(row["category_id"])],
            }
            for row in annotation["segments_info"]
        ]
        photo = np.asarray(Image.open(source / "input_images" / image["file_name"]).convert("RGB"))
        output = {"panoptic_seg": (torch.from_numpy(ids.astype(np.int32)), infos)}
        result = Segmentation.from_detectron2(photo, output, vocabulary, tuple(numbers))
        paths = result.save(tmp_path, "sample", image_id=annotation["image_id"])
        one = {**truth, "images": [image], "annotations": [annotation]}
        (tmp_path / "truth.json").write_text(json.dumps(one))
        quality = pq_compute(
            str(tmp_path / "truth.json"),
            str(paths["panoptic_json"]),
            str(source / "panoptic_examples"),
            str(tmp_path),
        )
        present = {row["category_id"] for row in annotation["segments_info"] if not row["iscrowd"]}
        assert quality["All"]["pq"] == pytest.approx(1.0)
        assert quality["All"]["n"] == len(present)


def test_what_the_model_knows_and_that_it_is_unsure_are_said_everywhere(tmp_path: Path) -> None:
    plain = sample_result()
    sure = dataclasses.replace(plain, knows="street scenes", certainty=0.8, unsure_below=0.8)
    unsure = dataclasses.replace(sure, certainty=0.79)
    line = "unsure: unlike the photos it learned from"
    assert (plain.remarks, plain.is_unsure) == ((), False)
    assert sure.remarks == ("the model knows street scenes",)
    assert unsure.remarks == ("the model knows street scenes", line)
    assert repr(unsure).endswith(f"; the model knows street scenes; {line})")
    assert describe(unsure) == f"{describe(sure)} ({line})"
    assert summarize(unsure) == summarize(sure) == summarize(plain), "found as before"
    rows = [one.to_coco()["panoptic"]["images"][0] for one in (sure, unsure)]
    assert [row.get("unsure") for row in rows] == [None, True]
    contents = [one.save(tmp_path, formats="html")["html"].read_text() for one in (sure, unsure)]
    assert [f'"{line}"], "unsure": true' in content for content in contents] == [False, True]
    assert np.array_equal(plain.picture(), unsure.picture())


def test_remarks_are_lines_at_the_end_of_the_legend(monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(
        overlay, "add_legend", lambda picture, title, rows, size: drawn.append(rows) or picture
    )
    plain = sample_result()
    told = {"knows": "street scenes", "certainty": 0.1, "unsure_below": 0.5}
    for result in (plain, dataclasses.replace(plain, **told)):
        for task in result.tasks:
            result.overlay(task)
    for before, after in zip(drawn[:3], drawn[3:]):
        assert after[: len(before)] == before
        remarks = after[len(before) :]
        assert " ".join(row.name for row in remarks) == (
            "the model knows street scenes unsure: unlike the photos it learned from"
        )
        assert all(row.color is None and len(row.name) <= 22 for row in remarks)
