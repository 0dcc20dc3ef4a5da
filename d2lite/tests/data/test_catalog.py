"""The catalogs, and what is registered in them from the start."""

from __future__ import annotations

import json

import pytest

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog
from detectron2.data.datasets import builtin, builtin_meta


def test_a_loader_runs_at_every_get_and_only_then(no_catalogs):
    calls = []
    DatasetCatalog.register("mine", lambda: calls.append(1) or [len(calls)])
    assert calls == []
    assert DatasetCatalog.get("mine") == [1]
    assert DatasetCatalog.get("mine") == [2]


def test_names_are_listed_in_order_and_can_be_removed(no_catalogs):
    for name in ("b", "a", "c"):
        DatasetCatalog.register(name, list)
        MetadataCatalog.get(name)
    DatasetCatalog.remove("a")
    MetadataCatalog.remove("a")
    assert DatasetCatalog.list() == ["b", "c"]
    assert MetadataCatalog.list() == ["b", "c"]
    assert "b, c" in str(DatasetCatalog)
    assert "a" not in DatasetCatalog


def test_an_unknown_dataset_is_named_with_the_known_ones(no_catalogs):
    DatasetCatalog.register("known", list)
    with pytest.raises(KeyError, match=r"'typo'.*known"):
        DatasetCatalog.get("typo")


def test_a_name_can_be_registered_once_and_for_a_function(no_catalogs):
    DatasetCatalog.register("mine", list)
    with pytest.raises(AssertionError, match="already registered"):
        DatasetCatalog.register("mine", list)
    with pytest.raises(AssertionError):
        DatasetCatalog.register("other", [1, 2])


def test_metadata_of_a_name_is_one_object(no_catalogs):
    metadata = MetadataCatalog.get("mine")
    assert metadata.name == "mine"
    assert metadata.set(thing_classes=["cat"]) is metadata
    assert MetadataCatalog.get("mine").thing_classes == ["cat"]
    with pytest.raises(AssertionError):
        MetadataCatalog.get("")


def test_metadata_cannot_change_its_mind():
    metadata = Metadata(name="mine")
    metadata.thing_classes = ["cat"]
    metadata.thing_classes = ["cat"]
    with pytest.raises(AssertionError, match="thing_classes"):
        metadata.thing_classes = ["dog"]
    with pytest.raises(AssertionError, match="name"):
        metadata.name = "yours"


def test_missing_metadata_is_an_attribute_error():
    metadata = Metadata(name="mine")
    with pytest.raises(AttributeError, match=r"stuff_classes.*mine.*empty"):
        _ = metadata.stuff_classes
    metadata.thing_classes = ["cat"]
    with pytest.raises(AttributeError, match=r"stuff_classes.*mine.*thing_classes"):
        _ = metadata.stuff_classes
    assert not hasattr(metadata, "stuff_classes")
    assert metadata.get("stuff_classes", 3) == 3
    assert metadata.get("thing_classes", 3) == ["cat"]


def test_as_dict_is_a_copy():
    metadata = Metadata(name="mine", ignore_label=255)
    copied = metadata.as_dict()
    assert copied == {"name": "mine", "ignore_label": 255}
    copied["ignore_label"] = 0
    assert metadata.ignore_label == 255


def test_old_names_of_attributes_are_understood():
    metadata = Metadata(name="mine")
    metadata.class_names = ["cat"]
    assert metadata.thing_classes == ["cat"]
    assert metadata.class_names == ["cat"]
    assert "class_names" not in metadata.as_dict()


@pytest.fixture
def builtin_catalogs(no_catalogs, tmp_path):
    """The catalogs with Detectron2's own entries alone: extensions may have replaced some."""
    for register in (
        builtin.register_all_coco,
        builtin.register_all_cityscapes,
        builtin.register_all_cityscapes_panoptic,
        builtin.register_all_pascal_voc,
        builtin.register_all_ade20k,
    ):
        register(str(tmp_path / "nowhere"))


def test_registering_needs_no_files(builtin_catalogs, tmp_path):
    assert not list(tmp_path.iterdir())
    assert {
        "coco_2017_train",
        "coco_2014_valminusminival",
        "keypoints_coco_2017_val_100",
        "coco_2017_val_panoptic",
        "coco_2017_val_panoptic_separated",
        "coco_2017_val_100_panoptic_stuffonly",
        "cityscapes_fine_instance_seg_test",
        "cityscapes_fine_sem_seg_val",
        "cityscapes_fine_panoptic_train",
        "voc_2007_test",
        "voc_2012_trainval",
        "ade20k_sem_seg_val",
    } <= set(DatasetCatalog.list())
    with pytest.raises(FileNotFoundError):
        DatasetCatalog.get("coco_2017_val")


@pytest.mark.parametrize(
    ("name", "key", "path"),
    [
        ("coco_2017_test-dev", "json_file", "coco/annotations/image_info_test-dev2017.json"),
        ("coco_2014_minival", "json_file", "coco/annotations/instances_minival2014.json"),
        ("coco_2014_minival", "image_root", "coco/val2014"),
        ("coco_2017_val_100", "json_file", "coco/annotations/instances_val2017_100.json"),
        (
            "keypoints_coco_2014_valminusminival",
            "json_file",
            "coco/annotations/person_keypoints_valminusminival2014.json",
        ),
        ("coco_2017_val_100_panoptic", "panoptic_root", "coco/panoptic_val2017_100"),
        ("coco_2017_train_panoptic_stuffonly", "sem_seg_root", "coco/panoptic_stuff_train2017"),
        ("cityscapes_fine_panoptic_val", "gt_dir", "cityscapes/gtFine/val"),
        ("cityscapes_fine_sem_seg_val", "image_dir", "cityscapes/leftImg8bit/val/"),
        ("voc_2012_val", "dirname", "VOC2012"),
        ("ade20k_sem_seg_val", "image_root", "ADEChallengeData2016/images/validation"),
    ],
)
def test_paths_are_the_well_known_ones(builtin_catalogs, name, key, path):
    assert getattr(MetadataCatalog.get(name), key).endswith(path)


@pytest.mark.parametrize(
    ("name", "evaluator", "num_things", "num_stuff"),
    [
        ("coco_2017_val", "coco", 80, None),
        ("keypoints_coco_2017_val", "coco", 1, None),
        ("coco_2017_val_panoptic", "coco_panoptic_seg", 133, 133),
        ("coco_2017_val_panoptic_separated", "coco_panoptic_seg", 80, 54),
        ("coco_2017_val_panoptic_stuffonly", "sem_seg", 80, 54),
        ("cityscapes_fine_panoptic_val", "cityscapes_panoptic_seg", 19, 19),
        ("cityscapes_fine_instance_seg_val", "cityscapes_instance", 8, 19),
        ("cityscapes_fine_sem_seg_val", "cityscapes_sem_seg", 8, 19),
        ("voc_2007_val", "pascal_voc", 20, None),
        ("ade20k_sem_seg_train", "sem_seg", None, 150),
    ],
)
def test_numbers_of_classes(builtin_catalogs, name, evaluator, num_things, num_stuff):
    metadata = MetadataCatalog.get(name)
    assert metadata.evaluator_type == evaluator
    for kind, number in (("thing", num_things), ("stuff", num_stuff)):
        classes = metadata.get(f"{kind}_classes")
        assert (None if classes is None else len(set(classes))) == number


@pytest.mark.parametrize("family", ["coco_panoptic_standard", "coco_panoptic_separated", "coco"])
def test_contiguous_ids_have_no_gaps(family):
    metadata = builtin_meta._get_builtin_metadata(family)
    maps = [metadata[key] for key in metadata if key.endswith("contiguous_id")]
    if family == "coco_panoptic_standard":  # one space for both
        assert not maps[0].keys() & maps[1].keys()
        maps = [{**maps[0], **maps[1]}]
    for contiguous_id in maps:
        assert sorted(contiguous_id.values()) == list(range(len(contiguous_id)))


def test_coco_categories_are_those_of_the_annotations(coco_sample):
    categories = json.loads((coco_sample / "panoptic_examples.json").read_text())["categories"]
    assert [
        {key: category[key] for key in ("color", "isthing", "id", "name")}
        for category in categories
    ] == builtin_meta.COCO_CATEGORIES
    separated = builtin_meta._get_builtin_metadata("coco_panoptic_separated")
    for category in categories:
        if category["isthing"]:
            index = separated["thing_dataset_id_to_contiguous_id"][category["id"]]
            assert separated["thing_classes"][index] == category["name"]
        else:
            index = separated["stuff_dataset_id_to_contiguous_id"][category["id"]]
            assert separated["stuff_colors"][index] == category["color"]
            assert category["name"].startswith(separated["stuff_classes"][index])


def test_unknown_family_is_a_key_error():
    with pytest.raises(KeyError, match="atlantis"):
        builtin_meta._get_builtin_metadata("atlantis")
