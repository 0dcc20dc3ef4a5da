from __future__ import annotations

import json

import numpy as np
import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data import build_train_loader, register_custom
from freeseg.data.panoptic import id2rgb
from freeseg.data.problems import DataError, Problems
from freeseg.data.records import dataset_records

PANOPTIC = {
    "images": [{"id": 3, "file_name": "photo.png", "height": 8, "width": 8}],
    "annotations": [
        {
            "image_id": 3,
            "file_name": "photo.png",
            "segments_info": [{"id": 7, "category_id": 40, "iscrowd": 0}],
        }
    ],
    "categories": [
        {"id": 1, "name": "sky", "isthing": 0},
        {"id": 40, "name": "kite", "isthing": 1},
    ],
}
INSTANCE = {
    "images": [{"id": 3, "file_name": "photo.png", "height": 8, "width": 8}],
    "annotations": [
        {
            "id": 1,
            "image_id": 3,
            "category_id": 40,
            "bbox": [1, 1, 4, 4],
            "area": 16,
            "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]],
        }
    ],
    "categories": [{"id": 40, "name": "kite"}, {"id": 1, "name": "dog"}],
}


@pytest.fixture
def row(tmp_path, write_image, request):
    """Makes a row of DATASETS.CUSTOM for a JSON content, with a name of its own per test."""
    write_image(tmp_path / "photo.png", np.zeros((8, 8, 3)))
    write_image(tmp_path / "ids" / "photo.png", id2rgb(np.full((8, 8), 7)))

    def make(content, panoptic_root=None, name=None):
        (tmp_path / "set.json").write_text(json.dumps(content))
        root = str(tmp_path / "ids") if panoptic_root is None else panoptic_root
        name = name or f"custom_{request.node.name}"
        return [name, str(tmp_path / "set.json"), str(tmp_path), root]

    return make


def test_a_panoptic_json_gives_names_and_thing_flags(row):
    rows = [row(PANOPTIC)]
    register_custom(rows)
    metadata = MetadataCatalog.get(rows[0][0])
    assert metadata.stuff_classes == ["kite", "sky"], "things come first"
    assert metadata.thing_classes == ["kite", "sky"], "numbers count in it too"
    assert list(metadata.thing_dataset_id_to_contiguous_id.values()) == [0]
    assert metadata.evaluator_type == "coco_panoptic_seg"
    (record,) = DatasetCatalog.get(rows[0][0])
    assert record["segments_info"][0]["category_id"] == 0
    register_custom(rows)  # again: nothing to do


def test_an_instance_json_has_only_things_in_order_of_id(row):
    rows = [row(INSTANCE, panoptic_root="")]
    register_custom(rows)
    metadata = MetadataCatalog.get(rows[0][0])
    assert metadata.thing_classes == ["dog", "kite"]
    assert metadata.evaluator_type == "coco"
    (record,) = DatasetCatalog.get(rows[0][0])
    assert record["annotations"][0]["category_id"] == 1


def test_one_line_of_configuration_trains(cfg, row):
    cfg.merge_from_list(["DATASETS.CUSTOM", repr([row(PANOPTIC)])])
    cfg.DATASETS.TRAIN = (cfg.DATASETS.CUSTOM[0][0],)
    cfg.INPUT.DATASET_MAPPER_NAME = "coco_panoptic_lsj"
    cfg.INPUT.IMAGE_SIZE = 16
    cfg.INPUT.MIN_SCALE = 1.0
    batch = next(iter(build_train_loader(cfg)))
    assert [sample["instances"].gt_classes.tolist() for sample in batch] == [[0]] * 4


def test_a_changed_row_is_registered_again(row):
    name = "custom_changed"
    register_custom([row(PANOPTIC, name=name)])
    register_custom([row(INSTANCE, panoptic_root="", name=name)])
    assert MetadataCatalog.get(name).evaluator_type == "coco"


@pytest.mark.parametrize(
    "bad",
    [["a", "b.json", "images"], "a b c d", ["a", "b.json", 3, ""], ["", "b.json", "images", ""]],
    ids=["too short", "a string", "no string", "no name"],
)
def test_a_malformed_row_says_what_a_row_is(bad):
    with pytest.raises(ValueError, match=r"a row is \[name, json_file, image_root, panoptic_root"):
        register_custom([bad])


def test_the_name_of_a_builtin_set_is_refused(row):
    with pytest.raises(ValueError, match="'coco_2017_val' is the name of a built-in dataset"):
        register_custom([row(PANOPTIC, name="coco_2017_val")])


def without(content, key):
    return {name: value for name, value in content.items() if name != key}


BAD_CONTENT = {
    "no categories": (without(PANOPTIC, "categories"), None, "needs the lists images, annotations"),
    "empty categories": ({**PANOPTIC, "categories": []}, None, "at least one row"),
    "double ids": (
        {**PANOPTIC, "categories": PANOPTIC["categories"] * 2},
        None,
        "categories have the id 1 twice; ids must be unique",
    ),
    "no thing flags": (
        {**PANOPTIC, "categories": INSTANCE["categories"]},
        None,
        'needs "isthing": 0 or 1',
    ),
    "panoptic without PNGs": (PANOPTIC, "", "must be the folder of its PNGs, got ''"),
    "instance with PNGs": (INSTANCE, None, 'is a COCO-instance JSON, so panoptic_root must be ""'),
    "a list": ([1, 2], None, "is not a COCO JSON"),
}


@pytest.mark.parametrize(
    ("content", "panoptic_root", "message"), BAD_CONTENT.values(), ids=BAD_CONTENT
)
def test_a_wrong_json_says_what_is_wrong(row, content, panoptic_root, message):
    with pytest.raises(ValueError, match=message):
        register_custom([row(content, panoptic_root)])


@pytest.mark.parametrize("place", [1, 2, 3], ids=["json", "images", "PNGs"])
def test_a_missing_path_is_named(row, place):
    rows = [row(PANOPTIC)]
    rows[0][place] = "/nowhere/at/all"
    with pytest.raises(FileNotFoundError, match="/nowhere/at/all does not exist"):
        register_custom(rows)


def changed(content, change):
    """A copy of a JSON's content, after a change."""
    content = json.loads(json.dumps(content))
    change(content)
    return content


def load(rows):
    register_custom(rows)
    return DatasetCatalog.get(rows[0][0])


UNKNOWN = {
    "no such image": (99, 3, "is of the image 99, which the file does not list$"),
    "a text for a number": (
        "3",
        3,
        "is of the image '3', a text, but the file lists the image 3, a number: they must be of",
    ),
    "a number for a text": (
        3,
        "3",
        "is of the image 3, a number, but the file lists the image '3'",
    ),
}


@pytest.mark.parametrize("kind", ["instance", "panoptic"])
@pytest.mark.parametrize(("annotated", "listed", "message"), UNKNOWN.values(), ids=UNKNOWN)
def test_an_annotation_of_an_unknown_image_says_which(row, kind, annotated, listed, message):
    def change(content):
        content["images"][0]["id"] = listed
        content["annotations"][0]["image_id"] = annotated

    content = changed({"instance": INSTANCE, "panoptic": PANOPTIC}[kind], change)
    place = {"instance": "annotation 1", "panoptic": r"annotation of photo\.png"}[kind]
    with pytest.raises(DataError, match=f"set.json: {place} {message}"):
        load([row(content, panoptic_root="" if kind == "instance" else None)])


def test_annotation_of_an_unknown_category_says_which(row):
    content = changed(INSTANCE, lambda each: each["annotations"][0].update(category_id=9))
    with pytest.raises(DataError, match="annotation 1 is of the category 9, which the file does"):
        load([row(content, panoptic_root="")])

    def change(content):
        content["annotations"][0]["segments_info"][0]["category_id"] = 9

    with pytest.raises(DataError, match=r"segments of photo\.png: segment 7 has category 9, which"):
        load([row(changed(PANOPTIC, change), name="custom_category_of_a_segment")])


@pytest.mark.parametrize("kind", ["instance", "panoptic"])
@pytest.mark.parametrize("fault", [{"file_name": ""}, {"height": "8"}, {"id": None}])
def test_annotation_of_an_image_in_error_is_none_as_well(row, kind, fault):
    content = {"instance": INSTANCE, "panoptic": PANOPTIC}[kind]
    content = changed(content, lambda each: each["images"][0].update(fault))
    problems = Problems()
    this = row(content, panoptic_root="" if kind == "instance" else None)
    register_custom([this])
    dataset_records(this[0], problems=problems)
    (line,) = problems.errors
    assert f"needs '{next(iter(fault))}'" in line


def test_images_without_panoptic_annotation_are_counted(row):
    def change(content):
        content["images"].append({**content["images"][0], "id": "spare"})

    this, problems = row(changed(PANOPTIC, change)), Problems()
    register_custom([this])
    assert len(dataset_records(this[0], problems=problems)) == 1
    (line,) = problems.warnings
    assert "1 of 2 images have no annotation, such as image 'spare': they are not used" in line


ROOTS = {
    "as Roboflow writes it": ({"id": 0, "name": "toys", "supercategory": "none"}, "toys", True),
    "in the last place": ({"id": 90, "name": "toys"}, "toys", True),
    "an object has it": ({"id": 7, "name": "toys", "supercategory": "none"}, "toys", False),
    "the parent of some": ({"id": 0, "name": "toys", "supercategory": "none"}, None, False),
    "of another name": ({"id": 0, "name": "Toys", "supercategory": "none"}, "toys", False),
}


@pytest.mark.parametrize(("root", "parent", "is_left_out"), ROOTS.values(), ids=ROOTS)
def test_the_root_of_all_other_categories_is_left_out_and_said(
    row, caplog, root, parent, is_left_out
):
    def add_root(content):
        for category, name in zip(content["categories"], ("toys", parent)):
            category["supercategory"] = name
        content["categories"].append(root)
        second = {**content["annotations"][0], "id": 2, "category_id": 7}
        content["annotations"] += [second] if root["id"] == 7 else []

    rows = [row(changed(INSTANCE, add_root), panoptic_root="")]
    register_custom(rows)
    names = MetadataCatalog.get(rows[0][0]).thing_classes
    assert set(names) == {"dog", "kite"} | (set() if is_left_out else {root["name"]})
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(said) == is_left_out
    assert not is_left_out or f"set.json: category {root['id']}, 'toys', is the root" in said[0]
    DatasetCatalog.get(rows[0][0])


TWINS = {
    "a category's name": (
        lambda content: content["categories"].append({"id": 8, "name": "  dog "}),
        "the categories 1 and 8 are both called 'dog'",
    ),
    "a category's id": (
        lambda content: content["categories"].append({"id": 40.0, "name": "cat"}),
        "categories have the id 40 twice",
    ),
    "an image's id": (
        lambda content: content["images"].append({**content["images"][0], "file_name": "b.png"}),
        "images have the id 3 twice",
    ),
    "an annotation's id": (
        lambda content: content["annotations"].append({**content["annotations"][0], "area": 1}),
        "annotations have the id 1 twice",
    ),
}


@pytest.mark.parametrize(("change", "message"), TWINS.values(), ids=TWINS)
def test_one_name_or_id_for_two_things_is_refused(row, change, message):
    rows = [row(changed(INSTANCE, change), panoptic_root="")]
    with pytest.raises(ValueError, match=rf"set\.json: {message}"):
        load(rows)


def test_two_rows_of_one_name_are_refused_before_either_is_read():
    rows = [["birds", "/nowhere/a.json", "/nowhere", ""], ["birds", "/nowhere/b.json", "/x", ""]]
    with pytest.raises(ValueError, match="two rows are called 'birds'; a dataset needs a name of"):
        register_custom(rows)
    assert "birds" not in DatasetCatalog.list()


def test_an_empty_name_is_refused(row):
    content = changed(INSTANCE, lambda content: content["categories"][0].update(name=" \t"))
    with pytest.raises(ValueError, match=r"set\.json: category 40 has an empty name"):
        register_custom([row(content, panoptic_root="")])


@pytest.mark.parametrize("flag", [True, False, 1, 0, 1.0, 0.0])
def test_flags_are_true_false_1_or_0(row, flag):
    def set_flags(content):
        content["categories"][1]["isthing"] = flag
        content["annotations"][0]["segments_info"][0]["iscrowd"] = flag

    rows = [row(changed(PANOPTIC, set_flags))]
    register_custom(rows)
    (record,) = DatasetCatalog.get(rows[0][0])
    (segment,) = record["segments_info"]
    assert (segment["isthing"], segment["iscrowd"]) == (bool(flag), int(flag))

    content = changed(INSTANCE, lambda content: content["annotations"][0].update(iscrowd=flag))
    rows = [row(content, panoptic_root="", name=f"custom_flags_{flag!r}")]
    register_custom(rows)
    (record,) = DatasetCatalog.get(rows[0][0])
    assert record["annotations"][0]["iscrowd"] == int(flag)


@pytest.mark.parametrize("flag", ["0", "false", None, 2, -1, [], 0.5])
@pytest.mark.parametrize("place", ["isthing", "iscrowd", "iscrowd of a segment"])
def test_other_flags_are_refused_with_file_and_entry(row, place, flag):
    def set_flag(content):
        if place == "isthing":
            content["categories"][1]["isthing"] = flag
        elif place == "iscrowd":
            content["annotations"][0]["iscrowd"] = flag
        else:
            content["annotations"][0]["segments_info"][0]["iscrowd"] = flag

    is_object = place == "iscrowd"
    content = changed(INSTANCE if is_object else PANOPTIC, set_flag)
    entry = {"isthing": "category 40", "iscrowd": "annotation 1"}.get(
        place, "segments of photo.png"
    )
    wanted = rf"set\.json: {entry} needs '{place.split()[0]}', true, false, 1 or 0, got "
    rows = [row(content, panoptic_root="" if is_object else None)]
    with pytest.raises(ValueError, match=wanted):
        load(rows)


@pytest.mark.parametrize("number", [0, -3, 256**3, "7", 2.5])
def test_a_segment_needs_an_id_that_a_png_can_hold(row, number):
    def set_id(content):
        content["annotations"][0]["segments_info"][0]["id"] = number

    rows = [row(changed(PANOPTIC, set_id))]
    register_custom(rows)
    with pytest.raises(ValueError, match=r"set\.json: segments of photo\.png") as refused:
        DatasetCatalog.get(rows[0][0])
    is_number = type(number) is int
    assert ("0 is void in COCO's PNGs" if is_number else "a whole number") in str(refused.value)


def test_the_real_samples_load(shared):
    sample, fruits = shared / "coco_panoptic_sample", shared / "fruits_nuts"
    register_custom(
        [
            [
                "custom_sample",
                str(sample / "panoptic_examples.json"),
                str(sample / "input_images"),
                str(sample / "panoptic_examples"),
            ],
            ["custom_fruits", str(fruits / "trainval.json"), str(fruits / "images"), ""],
        ]
    )
    assert len(DatasetCatalog.get("custom_sample")) == 2
    assert len(MetadataCatalog.get("custom_sample").stuff_classes) == 133
    records = DatasetCatalog.get("custom_fruits")
    assert sum(len(record["annotations"]) for record in records) == 165
    assert len(MetadataCatalog.get("custom_fruits").thing_classes) == 3
