"""What every preparation writes, read back by pycocotools, panopticapi and Cityscapes' scripts.

Pictures are not square, no two of one size, and category ids are unlike class numbers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import panopticapi.utils
import pytest
from cityscapesscripts.helpers.labels import labels as city_labels
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from freeseg.data.categories import load_categories
from freeseg.data.panoptic import id2rgb
from freeseg.data.prepare import ade20k, camvid, cityscapes, coco, mapillary, voc
from freeseg.data.prepare.job import Job

SIZES = {"train": [(30, 44), (25, 61)], "val": [(37, 29)]}
EIGHT = np.ones((3, 3))


def read(path):
    return np.array(Image.open(path))


def blocks(random, size, values, side=5):
    """A map [H, W] of squares, each of one of the values."""
    coarse = random.choice(values, [-(-length // side) for length in size])
    return coarse.repeat(side, 0).repeat(side, 1)[: size[0], : size[1]]


def segments_in(categories, instances, crowd):
    """Every segment of a picture: (category, crowd, area, box) by its pixels.

    Args:
        categories: Ids [H, W], negative where nothing is.
        instances: Numbers [H, W] that tell segments of one category apart.
        crowd: Whether the segment of a category and a number is one.
    """
    found = {}
    pairs = set(zip(categories.ravel().tolist(), instances.ravel().tolist()))
    for category, number in pairs:
        mask = (categories == category) & (instances == number)
        if category >= 0:
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            row = (category, int(crowd(category, number)), len(rows), [int(side) for side in box])
            found[mask.tobytes()] = row
    return found


def check_panoptic(json_file, root, truth, categories, crowd=lambda *_: False):
    """Compares a panoptic JSON and its PNGs with `truth`: id -> photo, categories, instances."""
    content = json.loads(json_file.read_text())
    assert content["categories"] == [row.to_json() for row in load_categories(categories)]
    assert len(content["images"]) == len(content["annotations"]) == len(truth)
    for image, annotation in zip(content["images"], content["annotations"]):
        photo, wanted, numbers = truth[image["id"]]
        height, width = wanted.shape
        expected = {"id": image["id"], "file_name": photo, "height": height, "width": width}
        assert image == expected
        assert annotation["image_id"] == image["id"]
        ids = panopticapi.utils.rgb2id(read(root / annotation["file_name"]))
        rows = annotation["segments_info"]
        assert {row["id"] for row in rows} | {0} == {*np.unique(ids).tolist(), 0}
        found = {
            (ids == row["id"]).tobytes(): tuple(
                row[key] for key in ("category_id", "iscrowd", "area", "bbox")
            )
            for row in rows
        }
        assert found == segments_in(wanted, numbers, crowd)


def put(path, pixels, dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels).astype(dtype)).save(path)


PHOTOS = {  # beside .jpg, as cameras write them
    ("train", 0): "one.JPG",
    ("train", 1): "two.jpg",
    ("val", 0): "three.jpeg",
}
FOLDERS = {"train": "training", "val": "validation"}


@pytest.fixture
def random():
    return np.random.default_rng(12)


def each_photo():
    for split, sizes in SIZES.items():
        for number, size in enumerate(sizes):
            name = PHOTOS[split, number]
            yield split, name, Path(name).stem, size


def test_ade20k(tmp_path, random):
    source, output, semantics, instances = tmp_path / "in", tmp_path / "out", {}, {}
    things = [row.id for row in load_categories("ade20k") if row.is_thing]
    for split, name, stem, size in each_photo():
        semantic = blocks(random, size, [0, 1, 4, 13, 8, 150])
        number = blocks(random, size, [0, 0, 1, 2, 7], side=4)
        thing = np.choose(number, [0, 4, 100, 0, 0, 0, 0, 4])  # 1 and 7 are of one class
        part = FOLDERS[split]
        put(source / "images" / part / name, np.zeros((*size, 3)))
        put(source / "annotations" / part / f"{stem}.png", semantic)
        pixels = np.stack([thing, number, random.integers(0, 9, size)], -1)
        put(source / "annotations_instance" / part / f"{stem}.png", pixels)
        semantics[stem], instances[stem] = semantic, (number, thing)
    job = Job(source, output)
    parts = (ade20k.prepare_semantic, ade20k.prepare_panoptic, ade20k.prepare_instances)
    for part in (*parts, ade20k.prepare_panoptic):  # again over what is there
        part(job)
    for split in SIZES:
        truth = {}
        coco_form = COCO(str(output / f"ade20k_instance_{split}.json"))
        assert sorted(coco_form.cats) == sorted(things)
        keys = [row["id"] for row in coco_form.dataset["annotations"]]
        assert keys == list(range(1, len(keys) + 1))
        for stem, name in [(each[2], each[1]) for each in each_photo() if each[0] == split]:
            semantic, (number, thing) = semantics[stem], instances[stem]
            labels = read(output / "annotations_detectron2" / FOLDERS[split] / f"{stem}.png")
            assert np.array_equal(labels, np.where(semantic == 0, 255, semantic - 1))
            of_thing = np.array([-1, *things])[thing]
            is_stuff = (semantic > 0) & ~np.isin(semantic - 1, things)
            categories = np.where(number > 0, of_thing, np.where(is_stuff, semantic - 1, -1))
            truth[stem] = (name, categories, number)
            rows = coco_form.loadAnns(coco_form.getAnnIds([stem]))
            wanted = segments_in(np.where(number > 0, of_thing, -1), number, lambda *_: False)
            found = {
                (coco_form.annToMask(row) == 1).tobytes(): tuple(
                    row[key] for key in ("category_id", "iscrowd", "area", "bbox")
                )
                for row in rows
            }
            assert found == wanted
            height, width = semantic.shape
            image = {"id": stem, "file_name": name, "height": height, "width": width}
            assert coco_form.imgs[stem] == image
        folder = output / f"ade20k_panoptic_{split}"
        check_panoptic(folder.with_suffix(".json"), folder, truth, "ade20k")


def test_cityscapes_as_its_own_scripts_make_it(tmp_path, random):
    source = tmp_path / "in"
    names = [label.id for label in city_labels if label.id >= 0]
    evaluated = {label.id: label for label in city_labels if not label.ignoreInEval}
    values = [*names, *(1000 * label + n for label in (24, 26, 33, 29) for n in (0, 1, 17))]
    for split, _, stem, size in each_photo():
        ids = blocks(random, size, values, side=4)
        target = source / "gtFine" / split / stem
        put(target / f"{stem}_000001_000019_gtFine_instanceIds.png", ids, np.uint16)
        labels = np.where(ids < 1000, ids, ids // 1000)
        put(target / f"{stem}_000001_000019_gtFine_labelIds.png", labels)
    job = Job(source, tmp_path / "out")
    cityscapes.prepare_panoptic(job)
    cityscapes.prepare_semantic(job)
    (tmp_path / "theirs").mkdir()
    convert2panoptic(str(source / "gtFine"), str(tmp_path / "theirs"), setNames=list(SIZES))
    for split in SIZES:
        name = f"cityscapes_panoptic_{split}"
        ours = json.loads((tmp_path / "out/gtFine" / f"{name}.json").read_text())
        theirs = json.loads((tmp_path / "theirs" / f"{name}.json").read_text())
        for kind in ("images", "annotations"):
            assert len(ours[kind]) == len(theirs[kind]) == len(SIZES[split])
        for one, other in zip(ours["images"], theirs["images"]):
            name_of_city = other["file_name"].replace("gtFine_leftImg8bit", "leftImg8bit")
            assert one == {**other, "file_name": name_of_city}
        for one, other in zip(ours["annotations"], theirs["annotations"]):
            assert {key: one[key] for key in ("image_id", "file_name")} == {
                key: other[key] for key in ("image_id", "file_name")
            }
            rows, wanted = (
                sorted(each["segments_info"], key=lambda row: row["id"]) for each in (one, other)
            )
            assert rows == wanted
            pngs = (tmp_path / "out/gtFine" / name, tmp_path / "theirs" / name)
            assert np.array_equal(*(read(folder / one["file_name"]) for folder in pngs))
    made = sorted((tmp_path / "out/gtFine").glob("*/*/*_labelTrainIds.png"))
    assert len(made) == 3
    for path in made:
        kind = path.name.replace("TrainIds", "Ids")
        labels = read(source / "gtFine" / path.relative_to(tmp_path / "out/gtFine").parent / kind)
        wanted = [
            [evaluated[each].trainId if each in evaluated else 255 for each in row]
            for row in labels.tolist()
        ]
        assert read(path).tolist() == wanted


def test_mapillary(tmp_path, random):
    source, truth = tmp_path / "in", {split: {} for split in SIZES}
    is_thing = {row.id: row.is_thing for row in load_categories("mapillary_vistas")}
    values = [256 * label + n for label in (0, 13, 55, 64, 65, 2) for n in (0, 1, 255)]
    for split, name, stem, size in each_photo():
        values_here = blocks(random, size, values)
        folder = source / FOLDERS[split]
        put(folder / "images" / f"{stem}.jpg", np.zeros((*size, 3)))
        put(folder / "instances" / f"{stem}.png", values_here, np.uint16)
        category, number = values_here // 256 + 1, values_here % 256
        number = np.where(np.vectorize(lambda each: is_thing.get(each, False))(category), number, 0)
        truth[split][stem] = (f"{stem}.jpg", np.where(category == 66, -1, category), number)
        assert name
    (tmp_path / "out" / "training" / "panoptic").mkdir(parents=True)
    mapillary.prepare_panoptic(Job(source, tmp_path / "out"))
    for split in SIZES:
        folder = tmp_path / "out" / FOLDERS[split] / "panoptic"
        check_panoptic(folder / "panoptic_2018.json", folder, truth[split], "mapillary_vistas")
    with pytest.raises(ValueError, match=r"Mapillary labels are 0\.\.65, got 66"):
        mapillary.panoptic_from_instances(np.full((2, 3), 66 * 256))


def test_camvid_and_the_suffixes_of_its_photos(tmp_path, random, capsys):
    names = [row.name for row in load_categories("camvid")]
    ids = [row.id for row in load_categories("camvid")]
    source, truth = tmp_path / "in", {split: {} for split in SIZES}
    for split, name, stem, size in each_photo():
        values = blocks(random, size, [0, 3, 5, 8, 9, 10, 11], side=4)
        values[-7:, -7:], values[-8, -7:], values[-7:, -8] = 8, 11, 11  # a car of 49 pixels
        values[2:9, 1:9], values[1, :10], values[9, :10] = 9, 11, 11
        values[:10, 0] = values[:10, 9] = 11
        values[2:8, 1] = 10  # a person of exactly 50 pixels
        put(source / split / name, random.integers(0, 255, (*size, 3)))
        put(source / f"{split}annot" / f"{stem}.png", values)
        classes = np.array([*map(names.index, camvid.LABEL_NAMES), 255])[values]
        number = np.zeros(size, int)
        for label in (0, 1, 2):  # the things; 0: crowd, as all that is smaller than 50 pixels
            parts, count = ndimage.label(classes == label, EIGHT)
            for part in range(1, count + 1):
                number[parts == part] = part if (parts == part).sum() >= 50 else 0
        assert (classes == names.index("pedestrian")).any()
        truth[split][len(truth[split]) + 1] = (
            name, np.where(classes == 255, -1, np.array([*ids, 0])[np.minimum(classes, 11)]), number
        )  # fmt: skip
    camvid.prepare_camvid(Job(source, tmp_path / "out"))
    assert "camvid train: 100%" in capsys.readouterr().err
    for split in SIZES:
        folder = tmp_path / "out" / f"panoptic_{split}"
        photos = {name for part, name, _, _ in each_photo() if part == split}
        assert {path.name for path in (tmp_path / "out" / split).iterdir()} == photos
        for name in photos:
            labels = read(source / f"{split}annot" / f"{Path(name).stem}.png")
            semantic = read(tmp_path / "out" / f"sem_seg_{split}" / f"{Path(name).stem}.png")
            assert semantic.dtype == np.uint8
            assert np.array_equal(semantic, np.array(
                [*map(names.index, camvid.LABEL_NAMES), 255])[labels])  # fmt: skip
            copy = tmp_path / "out" / split / name
            assert copy.read_bytes() == (source / split / name).read_bytes()
        content = json.loads(folder.with_suffix(".json").read_text())
        order = sorted(photos)
        assert [row["file_name"] for row in content["images"]] == order
        by_photo = {photo: rest for photo, *rest in truth[split].values()}
        ordered = {n: (photo, *by_photo[photo]) for n, photo in enumerate(order, 1)}
        check_panoptic(folder.with_suffix(".json"), folder, ordered, "camvid",
                       lambda category, number: category <= 3 and number == 0)  # fmt: skip


# COCO


def coco_tree(source, random):
    """Panoptic annotation of random blocks; gives category ids by photo, crowds and stuff PNGs."""
    truth = {split: {} for split in SIZES}
    for split, _, stem, size in each_photo():
        ids = blocks(random, size, [0, 9, 300, 70_000, 8_000_001], side=6)
        put(source / f"{split}2017" / f"{stem}.jpg", np.zeros((*size, 3)))
        put(source / f"panoptic_{split}2017" / f"{stem}.png", id2rgb(ids))
        put(source / "stuffthingmaps" / f"{split}2017" / f"{stem}.png",
            blocks(random, size, [0, 27, 91, 181, 255, 11]))  # fmt: skip
        categories = dict(zip((9, 300, 70_000, 8_000_001), (28, 92, 90, 28)))
        truth[split][stem] = (size, ids, categories)
    for split, photos in truth.items():
        images, annotations = [], []
        for number, (stem, (size, ids, categories)) in enumerate(photos.items()):
            images.append({"id": 30 - number, "file_name": f"{stem}.jpg", "height": size[0],
                           "width": size[1]})  # fmt: skip
            rows = [
                {"id": each, "category_id": category, "iscrowd": int(each == 8_000_001),
                 "area": int((ids == each).sum()), "bbox": [0, 0, 1, 1]}
                for each, category in categories.items() if (ids == each).any()
            ]  # fmt: skip
            annotations.append({"image_id": 30 - number, "file_name": f"{stem}.png",
                                "segments_info": rows})  # fmt: skip
        path = source / "annotations" / f"panoptic_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return truth


def test_coco(tmp_path, random):
    source, output = tmp_path / "in", tmp_path / "out"
    truth = coco_tree(source, random)
    job = Job(source, output)
    coco.prepare_panoptic_semantic(job)
    coco.prepare_panoptic_instances(job)
    val = output / "annotations" / "panoptic2instances_val2017.json"
    val.unlink()
    for _ in range(2):  # a rerun makes what is not there, and may find all
        coco.prepare_panoptic_semantic(job)
        coco.prepare_panoptic_instances(job)
        coco.prepare_stuff(job)
    assert val.is_file()
    class_of = {row["id"]: number for number, row in enumerate(COCO_CATEGORIES)}
    stuff_of = {row.id - 1: number for number, row in enumerate(load_categories("coco_stuff"))}
    assert 11 not in stuff_of, "an id that the table does not have"
    for split, photos in truth.items():
        things = COCO(str(output / "annotations" / f"panoptic2instances_{split}2017.json"))
        assert sorted(things.cats) == [row["id"] for row in COCO_CATEGORIES if row["isthing"]]
        for number, (stem, (size, ids, categories)) in enumerate(photos.items()):
            wanted = [[class_of[categories[each]] if each else 255 for each in row] for row in
                      ids.tolist()]  # fmt: skip
            labels = read(output / f"panoptic_semseg_{split}2017" / f"{stem}.png")
            assert labels.tolist() == wanted
            maps = source / "stuffthingmaps" / f"{split}2017" / f"{stem}.png"
            made = output / "stuffthingmaps_detectron2" / f"{split}2017" / f"{stem}.png"
            assert read(made).tolist() == [
                [stuff_of.get(each, 255) for each in row] for row in read(maps).tolist()
            ]
            rows = things.loadAnns(things.getAnnIds(30 - number))
            found = {
                (things.annToMask(row) == 1).tobytes(): (row["category_id"], row["iscrowd"])
                for row in rows
            }
            assert found == {
                (ids == each).tobytes(): (category, int(each == 8_000_001))
                for each, category in categories.items()
                if category != 92 and (ids == each).any()
            }
            assert things.imgs[30 - number]["height"] == size[0]


def test_voc(tmp_path, random):
    source, output = tmp_path / "in", tmp_path / "out"
    lists = source / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, _, stem, size in each_photo():
        put(source / "JPEGImages" / f"{stem}.jpg", np.zeros((*size, 3)))
        labels = blocks(random, size, [0, 1, 15, 20, 21, 255])
        put(source / "SegmentationClass" / f"{stem}.png", labels)
        with open(lists / f"{split}.txt", "a") as file:
            file.write(f"{stem}\n")
    voc.prepare_semantic(Job(source, output))
    made = list(output.rglob("*.png"))
    assert len(made) == 6
    for path in made:
        labels = read(source / "SegmentationClass" / path.name)
        known = np.where(labels > 20, 255, labels)
        objects = np.where((labels == 0) | (labels > 20), 255, labels.astype(int) - 1)
        is_of_objects = "objects" in path.parts[-3]
        assert np.array_equal(read(path), objects if is_of_objects else known)
        assert path.parent.name == ("val" if path.stem == "three" else "train")
