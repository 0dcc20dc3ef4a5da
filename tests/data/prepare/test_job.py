"""Options, reruns and missing files of every preparation."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from freeseg.data.prepare import ade20k, camvid, cityscapes, coco, mapillary, preparations, voc
from freeseg.data.prepare import job as prepare_job
from freeseg.data.prepare import shapes as prepare_shapes
from freeseg.data.prepare.job import (
    Job,
    MissingFilesError,
    add_options,
    copy_if_changed,
    is_fresh,
    parallel_map,
    require,
    run,
)
from freeseg.data.prepare.labels import recode, value_table
from freeseg.data.shapes import ShapesSplit

PARTS = {"first": lambda job: None, "second": lambda job: None}


def options(*arguments, folder=Path("data")):
    parser = argparse.ArgumentParser()
    add_options(parser, PARTS, folder)
    return parser.parse_args(arguments)


def test_options_are_everything_by_default(monkeypatch):
    for count, workers in ((3, 3), (8, 8), (64, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        assert vars(options()) == {
            "source": Path("data"), "output": Path("data"), "parts": ["first", "second"],
            "splits": ["train", "val"], "workers": workers,
        }  # fmt: skip
    assert Job(Path("a"), Path("b")) == Job(
        source=Path("a"), output=Path("b"), workers=1, splits=("train", "val")
    )


def test_options_are_what_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    said = ["--source=~/in", "--output=~/out", "--parts", "second", "--splits", "val"]
    assert vars(options(*said, "--workers", "5")) == {
        "source": tmp_path / "in", "output": tmp_path / "out", "parts": ["second"],
        "splits": ["val"], "workers": 5,
    }  # fmt: skip
    for wrong in (["--parts", "third"], ["--splits", "test"], ["--workers", "two"]):
        with pytest.raises(SystemExit):
            options(*wrong)


def test_parts_get_the_job_in_the_order_that_is_said():
    seen = []
    parts = {name: lambda job, name=name: seen.append((name, job)) for name in PARTS}
    given = options("--source", "a", "--output", "b", "--workers", "3", "--splits", "val",
                    "--parts", "second", "first")  # fmt: skip
    assert run(parts, given) == 0
    job = Job(Path("a"), Path("b"), 3, ["val"])
    assert seen == [("second", job), ("first", job)]


@pytest.mark.parametrize(("count", "more"), [(1, None), (10, None), (11, 1), (25, 15)])
def test_ten_missing_files_are_named_and_the_rest_counted(tmp_path, count, more):
    (tmp_path / "there").touch()
    paths = [tmp_path / f"{number}" for number in range(count)]
    with pytest.raises(MissingFilesError) as missing:
        require([tmp_path / "there", *paths], "get them")
    lines = [f"missing {count} file(s) or folder(s):", *(f"  {path}" for path in paths[:10])]
    lines += [f"  ... and {more} more"] if more else []
    assert str(missing.value).splitlines() == [*lines, "get them"]
    require([tmp_path / "there"], "nothing is missing")


def stamp(path, nanoseconds):
    os.utime(path, ns=(nanoseconds, nanoseconds))


def test_a_target_of_the_same_time_is_fresh_and_one_older_by_a_tick_is_not(tmp_path):
    source, target = tmp_path / "source", tmp_path / "deep" / "er" / "target"
    source.write_text("one")
    copy_if_changed(source, target)
    assert target.read_text() == "one"
    source.write_text("two")
    for age, is_same in ((0, True), (1, True), (-1, False)):
        stamp(source, 10**18)
        stamp(target, 10**18 + age)
        assert is_fresh(target, source) == is_same
    for age, text in ((0, "one"), (-1, "two")):
        stamp(target, 10**18 + age)
        copy_if_changed(source, target)
        assert target.read_text() == text
    assert not is_fresh(tmp_path, source), "a folder is no file"


def test_values_without_a_class_are_void():
    table = value_table({0: 3, 7: 0, 255: 9})
    assert [table.shape, table.dtype] == [(256,), np.uint8]
    assert table.tolist() == [{0: 3, 7: 0, 255: 9}.get(value, 255) for value in range(256)]


def test_a_rerun_writes_what_is_new_and_only_that(tmp_path):
    pairs = []
    for number in range(3):
        source = tmp_path / f"{number}.png"
        Image.fromarray(np.full((3, 5), number, np.uint8)).save(source)
        stamp(source, 10**18)
        pairs.append((source, tmp_path / f"out{number % 2}" / source.name))
    recode(pairs, value_table({0: 4, 1: 5, 2: 6}), 1, "test")
    assert [np.array(Image.open(target)).max() for _, target in pairs] == [4, 5, 6]
    for (_, target), age in zip(pairs, (0, -1, 1)):
        stamp(target, 10**18 + age)
    recode(pairs, value_table({0: 7, 1: 7, 2: 7}), 1, "test")
    assert [np.array(Image.open(target)).max() for _, target in pairs] == [4, 7, 6]


@pytest.mark.parametrize(
    ("pixels", "said"),
    [(np.zeros((3, 5, 3), np.uint8), r"uint8 \[3, 5, 3\]"),
     (np.full((3, 5), 300, np.uint16), r"uint16 \[3, 5\]")],
    ids=["colours", "16 bits"],
)  # fmt: skip
def test_other_pngs_are_no_labels(tmp_path, pixels, said):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"must be an 8-bit one-channel PNG, got {said}"):
        recode([(tmp_path / "a.png", tmp_path / "b.png")], value_table({}), 1, "test")


EMPTY = {  # folders that are there, and what is missing then
    "ade20k labels": (ade20k.prepare_semantic, "annotations/{part}", "annotations/training/*.png"),
    "ade20k photos": (
        ade20k.prepare_panoptic,
        "images/{part} annotations/{part} annotations_instance/{part}",
        "images/training/*.jpg",
    ),
    "camvid": (camvid.prepare_camvid, "{split} {split}annot", "train/*.jpg"),
    "cityscapes": (
        cityscapes.prepare_panoptic,
        "gtFine/{split}",
        "gtFine/train/*/*_gtFine_instanceIds.png",
    ),
    "coco stuff": (
        coco.prepare_stuff,
        "stuffthingmaps/{split}2017",
        "stuffthingmaps/train2017/*.png",
    ),
    "mapillary": (
        mapillary.prepare_panoptic,
        "{part}/images {part}/instances",
        "training/instances/*.png",
    ),
}


@pytest.mark.parametrize(("prepare", "folders", "missing"), EMPTY.values(), ids=EMPTY)
def test_empty_folders_are_missing_files(tmp_path, prepare, folders, missing):
    for split, part in (("train", "training"), ("val", "validation")):
        for folder in folders.format(split=split, part=part).split():
            (tmp_path / "in" / folder).mkdir(parents=True)
    with pytest.raises(MissingFilesError) as error:
        prepare(Job(tmp_path / "in", tmp_path / "out"))
    assert str(error.value).splitlines()[:2] == [
        "missing 1 file(s) or folder(s):", f"  {tmp_path}/in/{missing}"
    ]  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("prepare", "missing"),
    [
        (ade20k.prepare_semantic, "annotations/training"),
        (ade20k.prepare_panoptic, "images/training"),
        (camvid.prepare_camvid, "train"),
        (cityscapes.prepare_semantic, "gtFine/train"),
        (coco.prepare_stuff, "stuffthingmaps/train2017"),
        (coco.prepare_panoptic_instances, "annotations/panoptic_train2017.json"),
        (coco.prepare_panoptic_semantic, "annotations/panoptic_train2017.json"),
        (mapillary.prepare_panoptic, "training/images"),
    ],
)
def test_folders_that_are_not_there_are_named(tmp_path, prepare, missing):
    with pytest.raises(MissingFilesError) as error:
        prepare(Job(tmp_path / "in", tmp_path / "out", splits=["train"]))
    assert str(error.value).splitlines()[1] == f"  {tmp_path}/in/{missing}"


@pytest.mark.parametrize("lost", ["annotations", "annotations_instance"])
def test_a_photo_of_ade20k_without_one_of_its_pngs_is_named(tmp_path, lost):
    for folder in ("images", "annotations", "annotations_instance"):
        for number in range(2):
            suffix = "JPG" if folder == "images" else "png"
            path = tmp_path / folder / "training" / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / lost / "training" / "1.png").unlink()
    for prepare in (ade20k.prepare_panoptic, ade20k.prepare_instances):
        with pytest.raises(MissingFilesError) as error:
            prepare(Job(tmp_path, tmp_path / "out", splits=["train"]))
        assert str(error.value).splitlines()[1] == f"  {tmp_path}/{lost}/training/1.png"
    assert not (tmp_path / "out").exists()


def test_an_empty_list_of_voc_is_named(tmp_path):
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for folder in ("SegmentationClass", "JPEGImages"):
        (tmp_path / folder).mkdir()
    (lists / "train.txt").write_text("one\n")
    (lists / "val.txt").write_text("\n")
    with pytest.raises(MissingFilesError, match=r"Segmentation/val\.txt \(it is empty\)"):
        voc.prepare_semantic(Job(tmp_path, tmp_path, splits=["val"]))
    with pytest.raises(MissingFilesError, match=r"SegmentationClass/one\.png\n"):
        voc.prepare_semantic(Job(tmp_path, tmp_path, splits=["train"]))


def test_an_instance_without_a_class_is_refused():
    instance = np.zeros((2, 3, 3), np.uint8)
    instance[0, 1, 1] = 4  # number 4 of class 0
    with pytest.raises(ValueError, match="has no unique class"):
        ade20k.panoptic_from_labels(np.ones((2, 3), np.uint8), instance)


def test_colour_pictures_are_no_annotation(tmp_path):
    for folder in ("training/images", "training/instances", "train", "trainannot"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (5, 3)).save(tmp_path / "training/instances/a.png")
    Image.new("RGB", (5, 3)).save(tmp_path / "trainannot/a.png")
    Image.new("RGB", (5, 3)).save(tmp_path / "train/a.jpg")
    job = Job(tmp_path, tmp_path / "out", splits=["train"])
    with pytest.raises(ValueError, match=r"a\.png must be a one-channel PNG, got \[3, 5, 3\]"):
        mapillary.prepare_panoptic(job)
    with pytest.raises(ValueError, match=r"a\.png must be a one-channel PNG of class numbers"):
        camvid.prepare_camvid(job)


def test_splits_of_shapes_go_with_theirs(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(prepare_shapes, "ensure_split", lambda *given: made.append(given))
    for splits in (["val"], ["train"]):
        prepare_shapes.prepare_shapes(Job(tmp_path, tmp_path / "out", splits=splits))
    assert made == [
        (tmp_path / "out" / "val", ShapesSplit("val", 200, 2)),
        (tmp_path / "out" / "train", ShapesSplit("train", 2000, 1)),
        (tmp_path / "out" / "seen_train", ShapesSplit("seen_train", 2000, 3, with_unseen=False)),
    ]


def test_preparations_say_where_they_work(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/all")
    parts = {name: list(each.parts) for name, each in preparations.preparations().items()}
    assert parts == {
        "ade20k": ["semantic", "instance", "panoptic"], "camvid": ["panoptic"],
        "cityscapes": ["semantic", "panoptic"], "coco": ["panoptic", "instances", "stuff"],
        "mapillary": ["panoptic"], "shapes": ["shapes"], "voc": ["semantic"],
    }  # fmt: skip
    made = preparations.preparations()
    assert made["ade20k"].parts["instance"] is ade20k.prepare_instances
    assert made["coco"].parts["panoptic"] is coco.prepare_panoptic_semantic
    assert made["cityscapes"].parts["semantic"] is cityscapes.prepare_semantic
    assert made["camvid"].description == (
        f"{made['camvid'].title}. Reads and writes /all/camvid unless --source and --output say "
        "otherwise; safe to rerun. 'Datasets' in the documentation says what must be there."
    )
    assert made["shapes"].description.startswith(f"{made['shapes'].title}. Writes $DETECTRON2")


@pytest.mark.parametrize(
    ("workers", "items", "processes", "chunk"),
    [(8, 3, 3, 1), (3, 8, 3, 1), (2, 100, 2, 12), (2, 520, 2, 64), (2, 504, 2, 63)],
)
def test_work_is_shared_by_no_more_processes_than_there_are_items(
    monkeypatch, capsys, workers, items, processes, chunk
):
    """Each process gets its items in four or more parts, so that none waits long at the end."""
    asked = []

    class Pool:
        def __init__(self, number):
            asked.append(number)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def imap(self, work, given, chunksize):
            asked.append(chunksize)
            return map(work, given)

    monkeypatch.setattr(prepare_job.multiprocessing, "Pool", Pool)
    assert parallel_map(abs, range(-items, 0), workers, "the title") == list(range(items, 0, -1))
    assert asked == [processes, chunk]
    assert f"{items}/{items}" in capsys.readouterr().err.split("the title")[-1]
    asked.clear()
    assert parallel_map(abs, [-3], workers, "of one") == [3]
    assert parallel_map(abs, [-3, -4, -5], 1, "alone") == [3, 4, 5]
    assert asked == [], "neither needs a process"
    said = capsys.readouterr().err
    assert "of one: 100%" in said
    assert "3/3" in said.split("alone")[-1]


@pytest.mark.parametrize("number", [150, 151, 0, 255])
def test_ade20k_s_labels_end_at_150(tmp_path, number):
    source = tmp_path / "annotations" / "training"
    source.mkdir(parents=True)
    Image.fromarray(np.full((3, 5), number, np.uint8)).save(source / "a.png")
    ade20k.prepare_semantic(Job(tmp_path, tmp_path / "out", splits=["train"]))
    made = Image.open(tmp_path / "out/annotations_detectron2/training/a.png")
    assert np.unique(made).tolist() == [149 if number == 150 else 255]
