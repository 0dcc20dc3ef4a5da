"""Every registered dataset, whole: its metadata, and the records of a tree in the official layout.

Paths and numbers are written from the pages of the datasets; nothing here asks the product for one.
"""

from __future__ import annotations

import json

import pytest

from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from freeseg.catalog import dataset_metadata, kept

# a row of a JSON: its segment of a thing and that of stuff
SEGMENTS = (
    {"id": 70_001, "iscrowd": 1, "area": 12, "bbox": [3, 5, 4, 6]},
    {"id": 7, "iscrowd": 0, "area": 90, "bbox": [0, 1, 30, 8]},
)
SIZES = {"train": [(20, 31)], "val": [(23, 34), (41, 27)]}  # of photos, (height, width)
COCO_THING, COCO_STUFF = (28, 25), (92, 80)  # umbrella, banner: (id, class)


def put(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def panoptic_tree(root, source, rows, thing, stuff):
    """A panoptic JSON under `root` and all its files.

    Args:
        root: Of all datasets.
        source: The JSON's name.
        rows: (image id, photo, PNG, its path) with the size of each.
        thing: Category id of the first segment.
        stuff: Of the second.
    """
    images, annotations = [], []
    for image_id, photo, png, files, (height, width) in rows:
        put(root, *files)
        images.append({"id": image_id, "file_name": photo, "height": height, "width": width})
        segments = [
            {**each, "category_id": category} for each, category in zip(SEGMENTS, (thing, stuff))
        ]
        annotations.append({"image_id": image_id, "file_name": png, "segments_info": segments})
    write(root / source, {"images": images, "annotations": annotations, "categories": []})


def segments(thing, stuff):
    """The same as records have them: class numbers, and which is a thing."""
    classes = ((thing, True), (stuff, False))
    return [
        {**each, "category_id": label, "isthing": is_thing}
        for each, (label, is_thing) in zip(SEGMENTS, classes)
    ]


def of_size(size):
    return {"height": size[0], "width": size[1]}


# COCO


def coco_names(split):
    return [f"{split}_{number}" for number in range(len(SIZES[split]))]


@pytest.fixture
def coco(root):
    for split, sizes in SIZES.items():
        rows = []
        for number, size in enumerate(sizes):
            name = f"{split}_{number}"
            files = [
                f"coco/{split}2017/{name}.jpg",
                f"coco/panoptic_{split}2017/{name}.png",
                f"coco/panoptic_semseg_{split}2017/{name}.png",
                f"coco/stuffthingmaps_detectron2/{split}2017/{name}.png",
            ]
            rows.append((40 + number, f"{name}.jpg", f"{name}.png", files, size))
        source = f"coco/annotations/panoptic_{split}2017.json"
        panoptic_tree(root, source, rows, COCO_THING[0], COCO_STUFF[0])
        for kind, box in (("instances", [2, 3, 5, 7]), ("panoptic2instances", [4, 1, 6, 9])):
            write(root / f"coco/annotations/{kind}_{split}2017.json", instances(rows, box))
    return root


POLYGON = [[2, 3, 7, 3, 7, 10]]


def instances(rows, box, thing=28):
    common = {"category_id": thing, "segmentation": POLYGON, "area": 17}
    return {
        "images": [
            {"id": image_id, "file_name": photo, **of_size(size)}
            for image_id, photo, _, _, size in rows
        ],
        "annotations": [
            {"id": 900 + image_id, "image_id": image_id, "iscrowd": 0, "bbox": box, **common}
            for image_id, *_ in rows
        ],
        "categories": [],
    }


def instance(image_id, box, label=25):
    return {
        "id": 900 + image_id, "category_id": label, "iscrowd": 0, "area": 17, "bbox": box,
        "bbox_mode": 1, "segmentation": POLYGON,
    }  # fmt: skip


@pytest.mark.parametrize("split", SIZES)
def test_records_of_coco(coco, split):
    folder, base = coco / "coco", f"coco_2017_{split}"
    for number, name in enumerate(coco_names(split)):
        common = {
            "file_name": f"{folder}/{split}2017/{name}.jpg",
            "image_id": 40 + number,
            **of_size(SIZES[split][number]),
        }
        ids = {"pan_seg_file_name": f"{folder}/panoptic_{split}2017/{name}.png"}
        panoptic = {**common, **ids, "segments_info": segments(25, 80)}
        labels = {"sem_seg_file_name": f"{folder}/panoptic_semseg_{split}2017/{name}.png"}
        things = f"{folder}/stuffthingmaps_detectron2/{split}2017/{name}.png"
        assert kept(f"{base}_panoptic").load()[number] == panoptic
        assert kept(f"{base}_panoptic_with_sem_seg").load()[number] == {**panoptic, **labels}
        for kind, box in (("", [2, 3, 5, 7]), ("_panoptic2instance", [4, 1, 6, 9])):
            row = instance(40 + number, box)
            assert kept(f"{base}{kind}").load()[number] == {**common, "annotations": [row]}
        stuff = {
            "file_name": common["file_name"], "sem_seg_file_name": things, "image_id": name
        }  # fmt: skip
        for published in {"train": ["train"], "val": ["val", "test"]}[split]:
            assert kept(f"coco_2017_{published}_stuff_sem_seg").load()[number] == stuff
        if split == "train":
            assert kept("coco_2017_train_full_task").load()[number] == {
                **panoptic, "segments_info": segments(25, 0)[:1], "stuff_file_name": things,
                "ignored_classes": list(range(80)),
            }  # fmt: skip
    assert len(kept(base).load()) == len(SIZES[split])
    expected = [row["name"] for row in COCO_CATEGORIES]
    assert dataset_metadata(f"{base}_panoptic").stuff_classes == expected
    assert dataset_metadata(base).thing_classes == expected[:80]


# ADE20K: photos are called after their split


ADE_FOLDERS = {"train": "training", "val": "validation"}


@pytest.mark.parametrize("split", SIZES)
def test_records_of_ade20k(root, split):
    folder, part, rows = root / "ADEChallengeData2016", ADE_FOLDERS[split], []
    for number, size in enumerate(SIZES[split]):
        name = f"ADE_{split}_{number}"
        names = (
            f"images/{part}/{name}.jpg",
            f"annotations_detectron2/{part}/{name}.png",
            f"ade20k_panoptic_{split}/{name}.png",
        )
        files = [f"ADEChallengeData2016/{each}" for each in names]
        rows.append((name, f"{name}.jpg", f"{name}.png", files, size))
    source = f"ADEChallengeData2016/ade20k_panoptic_{split}.json"
    panoptic_tree(root, source, rows, 12, 3)  # person, floor
    write(folder / f"ade20k_instance_{split}.json", instances(rows[:0], [], 12) | {
        "images": [{"id": each[0], "file_name": each[1], **of_size(each[4])} for each in rows],
        "annotations": [
            {"id": 5, "image_id": rows[-1][0], "category_id": 12, "segmentation": POLYGON}
        ],
    })  # fmt: skip
    for number, (name, _, _, _, size) in enumerate(rows):
        photo = {"file_name": f"{folder}/images/{part}/{name}.jpg", "image_id": name}
        labels = {"sem_seg_file_name": f"{folder}/annotations_detectron2/{part}/{name}.png"}
        ids = {"pan_seg_file_name": f"{folder}/ade20k_panoptic_{split}/{name}.png"}
        assert kept(f"ade20k_sem_seg_{split}").load()[number] == {**photo, **labels}
        for kind in ("panoptic", "all"):
            assert kept(f"ade20k_{kind}_{split}").load()[number] == {
                **photo, **labels, **ids, **of_size(size), "segments_info": segments(12, 3)
            }  # fmt: skip
        found = kept(f"ade20k_instance_{split}").load()[number]
        row = {"id": 5, "category_id": 3, "iscrowd": 0, "segmentation": POLYGON}  # 4th thing
        row.update(bbox=[2, 3, 5, 7], bbox_mode=1)  # around the polygon
        is_last = number == len(rows) - 1
        assert found == {**photo, **of_size(size), "annotations": [row] if is_last else []}


# Cityscapes: the JSON says nothing of folders of cities


@pytest.mark.parametrize("split", SIZES)
def test_records_of_cityscapes(root, split):
    rows, folder = [], root / "cityscapes"
    for number, size in enumerate(SIZES[split]):
        name = f"{split}town{number}_000007_000019"
        city = name.split("_")[0]
        files = [
            f"cityscapes/leftImg8bit/{split}/{city}/{name}_leftImg8bit.png",
            f"cityscapes/gtFine/cityscapes_panoptic_{split}/{name}_gtFine_panoptic.png",
            f"cityscapes/gtFine/{split}/{city}/{name}_gtFine_labelTrainIds.png",
        ]
        png = f"{name}_gtFine_panoptic.png"
        rows.append((name, f"{name}_leftImg8bit.png", png, files, size))
    source = f"cityscapes/gtFine/cityscapes_panoptic_{split}.json"
    panoptic_tree(root, source, rows, 26, 23)  # car, sky
    for number, (name, _, png, files, size) in enumerate(rows):
        assert png
        photo = {"file_name": f"{root}/{files[0]}", "image_id": name}
        labels = {"sem_seg_file_name": f"{root}/{files[2]}"}
        panoptic = {**photo, **of_size(size), "pan_seg_file_name": f"{root}/{files[1]}"}
        found = kept(f"cityscapes_fine_panoptic_{split}").load()[number]
        assert found == {**panoptic, **labels, "segments_info": segments(13, 10)}
        assert kept(f"cityscapes_fine_sem_seg_{split}").load()[number] == {**photo, **labels}
        found = kept(f"cityscapes_fine_instance_seg_{split}").load()[number]
        assert found == {**panoptic, "segments_info": segments(2, 0)[:1]}, "the third thing"
    (folder / "gtFine" / split / rows[0][3][2].split("/")[3]).rename(folder / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"labelTrainIds\.png does not exist; see City"):
        kept(f"cityscapes_fine_sem_seg_{split}").load()


# Mapillary Vistas and VOC, CamVid


@pytest.mark.parametrize("split", SIZES)
def test_records_of_mapillary_vistas(root, split):
    folder, rows = root / "mapillary_vistas" / ADE_FOLDERS[split], []
    for number, size in enumerate(SIZES[split]):
        name = f"{split}{number}"
        names = (f"images/{name}.jpg", f"labels/{name}.png", f"panoptic/{name}.png")
        files = [f"mapillary_vistas/{ADE_FOLDERS[split]}/{each}" for each in names]
        rows.append((name, f"{name}.jpg", f"{name}.png", files, size))
    source = f"mapillary_vistas/{ADE_FOLDERS[split]}/panoptic/panoptic_2018.json"
    panoptic_tree(root, source, rows, 56, 14)  # car, road
    for number, (name, *_, size) in enumerate(rows):
        photo = {"file_name": f"{folder}/images/{name}.jpg", "image_id": name}
        labels = {"sem_seg_file_name": f"{folder}/labels/{name}.png"}
        assert kept(f"mapillary_vistas_sem_seg_{split}").load()[number] == {**photo, **labels}
        assert kept(f"mapillary_vistas_panoptic_{split}").load()[number] == {
            **photo, **labels, **of_size(size), "segments_info": segments(55, 13),
            "pan_seg_file_name": f"{folder}/panoptic/{name}.png",
        }  # fmt: skip


@pytest.mark.parametrize(("split", "published"), [("train", "train"), ("val", "test")])
def test_records_of_voc(root, split, published):
    folder, names = root / "VOC2012", [f"2007_{split}", f"2008_{split}"]
    for name in names:
        put(folder, f"JPEGImages/{name}.jpg")
        for kind in ("sem_seg_detectron2", "sem_seg_objects_detectron2"):
            put(folder, f"{kind}/{split}/{name}.png")

    def expected(kind):
        return [
            {
                "file_name": f"{folder}/JPEGImages/{name}.jpg", "image_id": name,
                "sem_seg_file_name": f"{folder}/{kind}/{split}/{name}.png",
            }
            for name in names
        ]  # fmt: skip

    assert kept(f"voc_2012_sem_seg_{split}").load() == expected("sem_seg_detectron2")
    for name in (f"voc_2012_objects_sem_seg_{split}", f"voc_sem_seg_{published}"):
        assert kept(name).load() == expected("sem_seg_objects_detectron2")
        assert dataset_metadata(name).stuff_classes[0] == "aeroplane"
    assert dataset_metadata(f"voc_2012_sem_seg_{split}").stuff_classes[0] == "background"


@pytest.mark.parametrize("split", SIZES)
def test_records_of_camvid(root, split):
    rows = []
    for number, size in enumerate(SIZES[split]):
        names = [f"{split}/{number}.png", f"panoptic_{split}/{number}.png"]
        files = [f"camvid/{each}" for each in [*names, f"sem_seg_{split}/{number}.png"]]
        rows.append((60 + number, f"{number}.png", f"{number}.png", files, size))
    panoptic_tree(root, f"camvid/panoptic_{split}.json", rows, 3, 8)  # bicyclist, pavement
    for number, (image_id, _, _, files, size) in enumerate(rows):
        assert kept(f"camvid_{split}_panoptic").load()[number] == {
            "file_name": f"{root}/{files[0]}", "pan_seg_file_name": f"{root}/{files[1]}",
            "sem_seg_file_name": f"{root}/{files[2]}", "image_id": image_id, **of_size(size),
            "segments_info": segments(2, 7),
        }  # fmt: skip


def test_a_set_of_labels_says_what_is_missing(root):
    """The folder, PNGs in it, or the photo of the first of them."""
    folder = root / "VOC2012" / "sem_seg_detectron2" / "val"
    for add, missing in (
        (lambda: None, rf"^{folder} does not exist; see Pascal VOC"),
        (lambda: folder.mkdir(parents=True), rf"^no PNGs in {folder}; see Pascal VOC"),
        (lambda: put(folder, "a.png"), r"JPEGImages/a\.jpg does not exist; see Pascal VOC"),
    ):
        add()
        with pytest.raises(FileNotFoundError, match=missing):
            kept("voc_2012_sem_seg_val").load()
    put(root, "VOC2012/JPEGImages/a.jpg")
    assert len(kept("voc_2012_sem_seg_val").load()) == 1
