"""What the metadata of every registered dataset says of its files and of how it is judged."""

from __future__ import annotations

from pathlib import Path

from freeseg.catalog import dataset_metadata
from freeseg.data import register_all
from freeseg.data.datasets.roots import datasets_root, generated_root
from freeseg.data.shapes import UNSEEN

ADE, COCO, CITY = "ADEChallengeData2016", "coco", "cityscapes"
VISTAS, VOC = "mapillary_vistas", "VOC2012"
PANOPTIC = {"label_divisor": 1000, "evaluator_type": "coco_panoptic_seg"}
PUBLISHED = {"keeps_annotated_areas": True}  # of what COCO's figures are of


def semantic(image_root, sem_seg_root):
    return {"image_root": image_root, "sem_seg_root": sem_seg_root, "evaluator_type": "sem_seg"}


def of_split(split):
    """Names and what is said of them, paths from the folder of all datasets; 255 is void."""
    photos, part = f"{COCO}/{split}2017", {"train": "training", "val": "validation"}[split]
    annotations = f"{COCO}/annotations"
    coco = {
        **PANOPTIC, **PUBLISHED, "image_root": photos,
        "panoptic_root": f"{COCO}/panoptic_{split}2017",
        "panoptic_json": f"{annotations}/panoptic_{split}2017.json",
        "json_file": f"{annotations}/instances_{split}2017.json",
    }  # fmt: skip
    stuff = semantic(photos, f"{COCO}/stuffthingmaps_detectron2/{split}2017")
    ade = {
        "image_root": f"{ADE}/images/{part}", "label_divisor": 1000,
        "panoptic_root": f"{ADE}/ade20k_panoptic_{split}",
        "panoptic_json": f"{ADE}/ade20k_panoptic_{split}.json",
        "sem_seg_root": f"{ADE}/annotations_detectron2/{part}",
        "json_file": f"{ADE}/ade20k_instance_{split}.json",
        "evaluator_type": "ade20k_panoptic_seg",
    }  # fmt: skip
    cities, fine = f"{CITY}/leftImg8bit/{split}", f"{CITY}/gtFine/{split}"
    vistas = f"{VISTAS}/{part}"
    voc = f"{VOC}/JPEGImages"
    objects = semantic(voc, f"{VOC}/sem_seg_objects_detectron2/{split}")
    return {
        f"coco_2017_{split}_panoptic": coco,
        f"coco_2017_{split}_panoptic_with_sem_seg": {
            **coco, "sem_seg_root": f"{COCO}/panoptic_semseg_{split}2017"
        },
        f"coco_2017_{split}": {
            "json_file": coco["json_file"], "image_root": photos, "evaluator_type": "coco",
            **PUBLISHED,
        },
        f"coco_2017_{split}_panoptic2instance": {
            "json_file": f"{annotations}/panoptic2instances_{split}2017.json",
            "image_root": photos, "evaluator_type": "coco", **PUBLISHED,
        },
        f"coco_2017_{split}_stuff_sem_seg": stuff,
        **({"coco_2017_test_stuff_sem_seg": stuff} if split == "val" else {}),
        f"ade20k_sem_seg_{split}": semantic(ade["image_root"], ade["sem_seg_root"]),
        f"ade20k_instance_{split}": {
            "json_file": ade["json_file"], "image_root": ade["image_root"],
            "evaluator_type": "coco",
        },
        f"ade20k_panoptic_{split}": ade,
        f"ade20k_all_{split}": ade,
        f"cityscapes_fine_panoptic_{split}": {
            "image_root": cities, "label_divisor": 1000, "gt_dir": fine, "sem_seg_root": fine,
            "panoptic_root": f"{CITY}/gtFine/cityscapes_panoptic_{split}",
            "panoptic_json": f"{CITY}/gtFine/cityscapes_panoptic_{split}.json",
            "evaluator_type": "cityscapes_panoptic_seg",
        },
        f"cityscapes_fine_sem_seg_{split}": {
            "image_dir": cities, "gt_dir": fine, "evaluator_type": "cityscapes_sem_seg"
        },
        f"cityscapes_fine_instance_seg_{split}": {
            "image_dir": cities, "gt_dir": fine, "evaluator_type": "cityscapes_instance"
        },
        f"mapillary_vistas_sem_seg_{split}": {
            **semantic(f"{vistas}/images", f"{vistas}/labels"), "ignore_label": 65
        },
        f"mapillary_vistas_panoptic_{split}": {
            "image_root": f"{vistas}/images", "label_divisor": 1000, "ignore_label": 65,
            "panoptic_root": f"{vistas}/panoptic", "sem_seg_root": f"{vistas}/labels",
            "panoptic_json": f"{vistas}/panoptic/panoptic_2018.json",
            "evaluator_type": "mapillary_vistas_panoptic_seg",
        },
        f"voc_2012_sem_seg_{split}": semantic(voc, f"{VOC}/sem_seg_detectron2/{split}"),
        f"voc_2012_objects_sem_seg_{split}": objects,
        f"voc_sem_seg_{'train' if split == 'train' else 'test'}": objects,
        f"camvid_{split}_panoptic": {
            **PANOPTIC, "image_root": f"camvid/{split}",
            "panoptic_root": f"camvid/panoptic_{split}",
            "panoptic_json": f"camvid/panoptic_{split}.json",
            "sem_seg_root": f"camvid/sem_seg_{split}",
            "json_file": f"camvid/instances_{split}.json",
        },
        f"shapes_{split}_panoptic": {
            **PANOPTIC, "image_root": f"shapes/{split}/images",
            "panoptic_root": f"shapes/{split}/panoptic_{split}",
            "panoptic_json": f"shapes/{split}/panoptic_{split}.json",
            "sem_seg_root": f"shapes/{split}/sem_seg_{split}",
            "json_file": f"shapes/{split}/instances_{split}.json",
        },
    }  # fmt: skip


NAMES = {**of_split("train"), **of_split("val"), "coco_2017_train_full_task": {}}
PATHS = {"image_root", "image_dir", "gt_dir", "panoptic_root", "panoptic_json", "sem_seg_root"}
OF_CLASSES = {  # tested in test_registration.py and test_seen.py
    "name", "thing_classes", "stuff_classes", "thing_colors", "stuff_colors",
    "thing_dataset_id_to_contiguous_id", "stuff_dataset_id_to_contiguous_id",
    "evaluation_set", "trainable_flag",
}  # fmt: skip


def test_metadata_is_what_the_layout_says(root):
    found, expected = {}, {}
    for name, said in NAMES.items():
        values = dataset_metadata(name).as_dict()
        found[name] = {key: value for key, value in values.items() if key not in OF_CLASSES}
        expected[name] = {
            key: f"{root}/{value}" if key in {*PATHS, "json_file"} else value
            for key, value in {"ignore_label": 255, **said}.items()
        }
    assert found == expected


def test_shapes_say_which_classes_are_unseen(root):
    for split in ("train", "val", "seen_train", "many_seen_train"):
        metadata = dataset_metadata(f"shapes_{split}_panoptic")
        names = metadata.stuff_classes
        assert metadata.evaluation_set["unseen"] == list(UNSEEN)
        assert metadata.evaluation_set["seen"] == [each for each in names if each not in UNSEEN]
        flags = dict(zip(names, metadata.trainable_flag))
        assert {name for name, flag in flags.items() if flag == 0} == set(UNSEEN)
        assert set(flags.values()) == {0, 1}
        assert metadata.image_root == f"{root}/shapes/{split}/images"


def test_folders_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, both in (("~/data", tmp_path / "data"), ("/data", Path("/data"))):
        monkeypatch.setenv("DETECTRON2_DATASETS", value)
        assert (datasets_root(), generated_root()) == (both, both)
    monkeypatch.setenv("DETECTRON2_DATASETS", "")
    for cache, folder in (("~/kept", "kept"), ("", ".cache")):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        assert (datasets_root(), generated_root()) == (
            Path("datasets"), tmp_path / folder / "freeseg"
        )  # fmt: skip
    try:
        register_all("~/all")
        for name in ("voc_2012_sem_seg_val", "shapes_val_panoptic", "camvid_val_panoptic"):
            assert str(tmp_path / "all") in dataset_metadata(name).image_root
    finally:
        monkeypatch.undo()
        register_all()
