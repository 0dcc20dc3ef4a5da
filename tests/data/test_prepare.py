"""Each preparation on a miniature tree in exactly the official layout, through to the records."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.catalog import dataset_metadata, kept
from freeseg.data.panoptic import panoptic_to_semantic, rgb2id
from freeseg.data.prepare import ade20k, camvid, cityscapes, voc
from freeseg.data.prepare.job import (
    Job,
    MissingFilesError,
    add_options,
    is_fresh,
    parallel_map,
    run,
)
from freeseg.data.prepare.labels import read_labels
from freeseg.data.prepare.preparations import preparations

SCRIPTS = Path(__file__).resolve().parents[2] / "datasets"
PHOTO = np.zeros((20, 30, 3))


def names_of(dataset: str, record) -> set[str]:
    classes = dataset_metadata(dataset).stuff_classes
    return {classes[row["category_id"]] for row in record["segments_info"]}


# what all scripts share


@pytest.mark.parametrize("workers", [1, 2])
def test_parallel_results_are_all_collected_in_order(workers):
    assert parallel_map(abs, list(range(-50, 0)), workers, "test") == list(range(50, 0, -1))


def test_an_error_in_a_worker_reaches_the_caller():
    with pytest.raises(TypeError, match="bad operand"):
        parallel_map(abs, [1, 2, "three"], 2, "test")


def test_a_part_with_missing_files_does_not_stop_the_others(tmp_path, caplog):
    done = []

    def fail(job: Job) -> None:
        raise MissingFilesError([job.source / f"{i}.png" for i in range(12)], "get them")

    parts = {"first": fail, "second": lambda job: done.append(job)}
    assert run(parts, options(parts, tmp_path, "--workers", "1", "--splits", "val")) == 1
    (job,) = done
    assert (job.source, job.output, list(job.splits)) == (tmp_path, tmp_path, ["val"])
    assert "first: missing 12 file(s)" in caplog.text
    assert f"{tmp_path}/9.png\n  ... and 2 more\nget them" in caplog.text
    assert run(parts, options(parts, tmp_path, "--parts", "second")) == 0


def test_fresh_means_existing_and_not_older(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("1")
    assert not is_fresh(target, source)
    target.write_text("1")
    assert is_fresh(target, source)
    later = source.stat().st_mtime + 10
    os.utime(source, (later, later))
    assert not is_fresh(target, source)


def options(parts, folder, *arguments):
    parser = argparse.ArgumentParser()
    add_options(parser, parts, folder)
    return parser.parse_args(arguments)


PREPARATIONS = ("ade20k", "camvid", "cityscapes", "coco", "mapillary", "voc")


def run_script(monkeypatch, name: str, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / f"prepare_{name}.py"), run_name="__main__")
    return int(end.value.code or 0)


@pytest.mark.parametrize("name", PREPARATIONS)
def test_a_script_says_what_is_missing_and_exits_with_1(name, monkeypatch, tmp_path, caplog):
    empty = tmp_path / "empty"
    assert run_script(monkeypatch, name, "--source", str(empty)) == 1
    assert "missing" in caplog.text
    assert str(empty) in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_every_dataset_has_a_script_and_a_section_on_the_page():
    scripts = {path.stem for path in SCRIPTS.glob("prepare_*.py")}
    assert scripts == {f"prepare_{name}" for name in (*PREPARATIONS, "shapes")}
    page = (SCRIPTS.parent / "docs/datasets.md").read_text()
    for name in (*PREPARATIONS, "shapes"):
        assert f"freeseg prepare {name}" in page
    assert set(preparations()) == {*PREPARATIONS, "shapes"}


# CamVid


def camvid_labels(seed: int) -> np.ndarray:
    labels = np.random.default_rng(seed).integers(0, 12, (3, 3)).repeat(20, 0).repeat(30, 1)
    labels[0:3, 0:3] = 9  # a pedestrian too small to be trusted
    labels[10:30, 40:60] = 8
    return labels


@pytest.fixture
def camvid_tree(tmp_path, write_image):
    for split, seeds in (("train", (0, 1)), ("val", (2,))):
        for seed in seeds:
            write_image(tmp_path / "source" / split / f"{seed}.jpg", np.zeros((60, 90, 3)))
            write_image(tmp_path / "source" / f"{split}annot" / f"{seed}.png", camvid_labels(seed))
    return tmp_path / "source"


def test_camvid_keeps_the_semantic_labels_pixel_for_pixel(root, camvid_tree):
    camvid.prepare_camvid(Job(camvid_tree, root / "camvid"))
    names = dataset_metadata("camvid_train_panoptic").stuff_classes
    assert names[:3] == ["car", "pedestrian", "bicyclist"]
    for split, count in (("train", 2), ("val", 1)):
        records = kept(f"camvid_{split}_panoptic").load()
        assert len(records) == count
        for record in records:
            original = read_labels(
                camvid_tree / f"{split}annot" / f"{Path(record['file_name']).stem}.png"
            )
            semantic = read_labels(record["sem_seg_file_name"])
            decoded = np.array([*(names.index(n) for n in camvid.LABEL_NAMES), 255])[original]
            assert np.array_equal(semantic, decoded)
            ids = rgb2id(read_labels(record["pan_seg_file_name"]))
            identity = {index: index for index in range(len(names))}
            derived = panoptic_to_semantic(ids, record["segments_info"], identity)
            assert np.array_equal(derived, semantic)


def test_the_camvid_script_works_from_end_to_end(monkeypatch, camvid_tree, tmp_path):
    arguments = ["--source", str(camvid_tree), "--output", str(tmp_path / "out")]
    assert run_script(monkeypatch, "camvid", *arguments, "--splits", "val") == 0
    assert (tmp_path / "out" / "panoptic_val.json").is_file()
    assert not (tmp_path / "out" / "panoptic_train.json").exists()


FOLDERS = {
    "ade20k": "ADEChallengeData2016",
    "camvid": "camvid",
    "cityscapes": "cityscapes",
    "coco": "coco",
    "mapillary": "mapillary_vistas",
    "shapes": "shapes",
    "voc": "VOC2012",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_scripts_write_under_the_variable_s_folder_and_never_into_the_source(
    name, monkeypatch, tmp_path
):
    assert {path.stem for path in SCRIPTS.glob("*.py")} == {f"prepare_{name}" for name in FOLDERS}

    def stop(*fields):
        raise StoppedError(Job(*fields))

    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "root"))
    monkeypatch.setattr("freeseg.data.prepare.job.Job", stop)
    monkeypatch.setattr(sys, "argv", [name, "--source", str(tmp_path / "download")])
    with pytest.raises(StoppedError) as stopped:
        runpy.run_path(str(SCRIPTS / f"prepare_{name}.py"), run_name="__main__")
    [job] = stopped.value.args
    assert job.source == tmp_path / "download"
    assert job.output == tmp_path / "root" / FOLDERS[name]


class StoppedError(Exception):
    """Has the job that would be done."""


def test_a_read_only_source_is_enough(monkeypatch, camvid_tree, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "root"))
    before = {path: path.stat().st_mtime_ns for path in camvid_tree.rglob("*")}
    assert run_script(monkeypatch, "camvid", "--source", str(camvid_tree)) == 0
    assert {path: path.stat().st_mtime_ns for path in camvid_tree.rglob("*")} == before
    assert (tmp_path / "root" / "camvid" / "panoptic_val.json").is_file()


def test_camvid_says_that_its_things_are_an_approximation(root, camvid_tree, caplog):
    caplog.set_level("INFO")
    camvid.prepare_camvid(Job(camvid_tree, root / "camvid"))
    assert "an approximation" in caplog.text
    for name in ("panoptic_val.json", "instances_val.json"):
        content = json.loads((root / "camvid" / name).read_text())
        assert "an approximation" in content["info"]["approximation"]


def test_camvid_instances_are_the_things_of_the_panoptic_annotation(root, camvid_tree):
    from pycocotools.coco import COCO

    camvid.prepare_camvid(Job(camvid_tree, root / "camvid"))
    truth = COCO(str(root / "camvid" / "instances_train.json"))
    for record in kept("camvid_train_panoptic").load():
        ids = rgb2id(read_labels(record["pan_seg_file_name"]))
        things = [row for row in record["segments_info"] if row["isthing"]]
        rows = truth.loadAnns(truth.getAnnIds(record["image_id"]))
        assert len(rows) == len(things) > 1
        for row, segment in zip(rows, things):
            assert np.array_equal(truth.annToMask(row) > 0, ids == segment["id"])
            assert row["iscrowd"] == segment["iscrowd"]
    assert any(row["iscrowd"] for row in truth.dataset["annotations"])


def test_camvid_may_be_prepared_again_and_in_place(root, camvid_tree):
    for _ in range(2):
        camvid.prepare_camvid(Job(camvid_tree, camvid_tree))
    content = json.loads((camvid_tree / "panoptic_train.json").read_text())
    assert len(content["annotations"]) == 2


def test_camvid_refuses_other_labels(root, camvid_tree, write_image):
    write_image(camvid_tree / "valannot" / "2.png", np.full((60, 90), 31))
    with pytest.raises(ValueError, match=r"CamVid labels are 0\.\.11, got \[31\]"):
        camvid.prepare_camvid(Job(camvid_tree, root / "camvid"))


def test_camvid_names_a_missing_label_file(camvid_tree, root):
    (camvid_tree / "trainannot" / "1.png").unlink()
    with pytest.raises(MissingFilesError, match=r"trainannot/1\.png"):
        camvid.prepare_camvid(Job(camvid_tree, root / "camvid"))
    assert not (root / "camvid").exists()


# ADE20K


@pytest.fixture
def ade_tree(root, write_image):
    folder = root / "ADEChallengeData2016"
    semantic = np.zeros((20, 30))
    semantic[:10], semantic[10:] = 1, 13  # wall, person (class 12)
    semantic[0:2, 0:2] = 4  # floor, hidden below by an instance
    instance = np.zeros((20, 30, 3))
    instance[12:18, 2:8] = (4, 1, 0)  # thing 4 of 100 is "person"
    instance[12:18, 20:28] = (4, 2, 0)
    instance[0:3, 0:3] = (1, 3, 0)  # "bed" over the floor and the wall
    for split, number in (("training", 1), ("validation", 2)):
        kind = {"training": "train", "validation": "val"}[split]
        name = f"ADE_{kind}_0000000{number}"
        write_image(folder / "images" / split / f"{name}.jpg", PHOTO)
        write_image(folder / "annotations" / split / f"{name}.png", semantic)
        write_image(folder / "annotations_instance" / split / f"{name}.png", instance)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_ade20k_becomes_semantic_instance_and_panoptic(ade_tree, workers):
    job = Job(ade_tree, ade_tree, workers)
    ade20k.prepare_semantic(job)
    ade20k.prepare_instances(job)
    ade20k.prepare_panoptic(job)

    (record,) = kept("ade20k_sem_seg_val").load()
    labels = read_labels(record["sem_seg_file_name"])
    assert (labels[5, 5], labels[15, 0], labels[0, 0]) == (0, 12, 3)

    (record,) = kept("ade20k_instance_val").load()
    things = dataset_metadata("ade20k_instance_val").thing_classes
    found = [(things[row["category_id"]], row["bbox"]) for row in record["annotations"]]
    assert found == [
        ("person", [2, 12, 6, 6]),
        ("person", [20, 12, 8, 6]),
        ("bed", [0, 0, 3, 3]),
    ]

    (record,) = kept("ade20k_panoptic_val").load()
    ids = rgb2id(read_labels(record["pan_seg_file_name"]))
    assert names_of("ade20k_panoptic_val", record) == {"wall", "person", "bed"}
    for segment in record["segments_info"]:
        assert segment["area"] == (ids == segment["id"]).sum(), "the area is the visible one"
    assert (ids[18:] == 0).all(), "people outside every instance are void"


def test_ade20k_instances_keep_the_published_numbers(ade_tree):
    ade20k.prepare_instances(Job(ade_tree, ade_tree))
    content = json.loads((ade_tree / "ade20k_instance_train.json").read_text())
    assert [row["id"] for row in content["categories"]][:4] == [7, 8, 10, 12]
    assert [row["id"] for row in content["annotations"]] == [1, 2, 3]
    assert len(content["categories"]) == 100


def test_ade20k_names_a_missing_instance_file(ade_tree):
    path = ade_tree / "annotations_instance" / "validation" / "ADE_val_00000002.png"
    path.unlink()
    with pytest.raises(MissingFilesError, match=str(path)):
        ade20k.prepare_panoptic(Job(ade_tree, ade_tree))
    assert not (ade_tree / "ade20k_panoptic_train.json").exists()


def test_an_instance_number_of_two_classes_is_an_error():
    instance = np.zeros((2, 2, 3), dtype=np.uint8)
    instance[0] = (1, 1, 0)
    instance[1] = (2, 1, 0)
    with pytest.raises(ValueError, match="no unique class"):
        ade20k.panoptic_from_labels(np.zeros((2, 2), dtype=np.uint8), instance)


# Cityscapes

CITY_IDS = np.array([[7, 7, 24, 26001, 26002, 0], [7, 23, 24, 26001, 29001, 5]])


@pytest.fixture
def city_tree(root, write_image):
    folder = root / "cityscapes"
    for split, city in (("train", "aachen"), ("val", "munster")):
        stem = f"{city}_000000_000019"
        write_image(
            folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", np.zeros((2, 6, 3))
        )
        target = folder / "gtFine" / split / city
        labels = np.where(CITY_IDS < 1000, CITY_IDS, CITY_IDS // 1000)
        write_image(target / f"{stem}_gtFine_labelIds.png", labels)
        Image.fromarray(CITY_IDS.astype(np.uint16)).save(target / f"{stem}_gtFine_instanceIds.png")
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_cityscapes_becomes_semantic_and_panoptic(city_tree, workers):
    job = Job(city_tree, city_tree, workers)
    cityscapes.prepare_semantic(job)
    cityscapes.prepare_panoptic(job)
    (record,) = kept("cityscapes_fine_panoptic_val").load()
    assert record["image_id"] == "munster_000000_000019"
    assert record["file_name"].endswith(
        "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png"
    )
    assert (record["height"], record["width"]) == (2, 6)
    names = dataset_metadata("cityscapes_fine_panoptic_val").stuff_classes
    ids = rgb2id(read_labels(record["pan_seg_file_name"]))
    is_kept = np.isin(CITY_IDS, [7, 23, 24, 26001, 26002])
    assert np.array_equal(ids, np.where(is_kept, CITY_IDS, 0)), "caravan (29) is not evaluated"
    segments = {
        row["id"]: (names[row["category_id"]], row["isthing"], row["iscrowd"], row["area"])
        for row in record["segments_info"]
    }
    assert segments == {
        7: ("road", False, 0, 3),
        23: ("sky", False, 0, 1),
        24: ("person", True, 1, 2),
        26001: ("car", True, 0, 2),
        26002: ("car", True, 0, 1),
    }
    labels = read_labels(record["sem_seg_file_name"])
    assert labels.tolist() == [[0, 0, 11, 13, 13, 255], [0, 10, 11, 13, 255, 255]]
    (instance,) = kept("cityscapes_fine_instance_seg_val").load()
    things = dataset_metadata("cityscapes_fine_instance_seg_val").thing_classes
    assert [(row["id"], things[row["category_id"]]) for row in instance["segments_info"]] == [
        (24, "person"),
        (26001, "car"),
        (26002, "car"),
    ]
    (semantic,) = kept("cityscapes_fine_sem_seg_val").load()
    assert semantic["sem_seg_file_name"] == record["sem_seg_file_name"]


# Pascal VOC


@pytest.fixture
def voc_tree(root, write_image):
    folder = root / "VOC2012"
    labels = np.zeros((20, 30), dtype=np.uint8)
    labels[:5], labels[5:6] = 15, 255
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, split in (("2007_000001", "train"), ("2007_000002", "val"), ("2008_000003", None)):
        write_image(folder / "JPEGImages" / f"{name}.jpg", PHOTO)
        if split:
            (lists / f"{split}.txt").write_text(f"{name}\n")
            coloured = Image.fromarray(labels, mode="P")  # VOC's PNGs have a palette
            coloured.putpalette([channel for index in range(256) for channel in (index, 7, 9)])
            (folder / "SegmentationClass").mkdir(exist_ok=True)
            coloured.save(folder / "SegmentationClass" / f"{name}.png")
    return folder


def test_voc_is_written_with_and_without_background(voc_tree):
    voc.prepare_semantic(Job(voc_tree, voc_tree))
    (record,) = kept("voc_2012_sem_seg_val").load()
    assert record["file_name"] == str(voc_tree / "JPEGImages" / "2007_000002.jpg")
    labels = read_labels(record["sem_seg_file_name"])
    assert [labels[0, 0], labels[5, 0], labels[9, 0]] == [15, 255, 0]
    names = dataset_metadata("voc_2012_sem_seg_val").stuff_classes
    assert names[15] == "person"
    (record,) = kept("voc_sem_seg_test").load()
    labels = read_labels(record["sem_seg_file_name"])
    assert [labels[0, 0], labels[5, 0], labels[9, 0]] == [14, 255, 255]
    assert dataset_metadata("voc_sem_seg_test").stuff_classes[14] == "person"


def test_voc_trains_on_the_augmented_set_without_val(voc_tree, write_image):
    for name in ("2007_000001", "2007_000002", "2008_000003"):
        write_image(voc_tree / "SegmentationClassAug" / f"{name}.png", np.ones((20, 30)))
    voc.prepare_semantic(Job(voc_tree, voc_tree))
    train = [record["image_id"] for record in kept("voc_2012_sem_seg_train").load()]
    assert train == ["2007_000001", "2008_000003"]
    (val,) = kept("voc_2012_sem_seg_val").load()
    assert read_labels(val["sem_seg_file_name"])[0, 0] == 15, "val keeps VOC's own labels"


def test_voc_names_a_missing_photo(voc_tree):
    (voc_tree / "JPEGImages" / "2007_000002.jpg").unlink()
    with pytest.raises(MissingFilesError, match=r"2007_000002\.jpg"):
        voc.prepare_semantic(Job(voc_tree, voc_tree))


def test_colour_pngs_are_no_labels(voc_tree, write_image):
    write_image(voc_tree / "SegmentationClass" / "2007_000002.png", PHOTO)
    with pytest.raises(
        ValueError, match=r"must be an 8-bit one-channel PNG, got uint8 \[20, 30, 3\]"
    ):
        voc.prepare_semantic(Job(voc_tree, voc_tree))
