"""LVIS's files: photos, classes as words, what is verified, and what is refused by name."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import pytest

from detectron2.data import DatasetCatalog
from freeseg.catalog import BUILTIN, dataset_metadata, dataset_vocabulary, kept
from freeseg.data import read_vocabulary
from freeseg.data.datasets.custom import register_custom
from freeseg.data.datasets.lvis import spoken_names
from freeseg.data.problems import DataError
from freeseg.data.records import dataset_records

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from lvis_files import lvis_content, write_lvis

CATEGORIES = [
    (3, "aerosol_can", "c"),
    (1, "bow_(weapon)", "r"),
    (2, "bow_(decorative_ribbons)", "f"),
    (9, "flipper_(footwear)", "r"),
]
CONTENT = lvis_content(
    CATEGORIES,
    {5: [(9, (2, 3, 20, 30)), (1, (30, 5, 50, 25))], 8: []},
    negative={5: [3], 8: [1, 2]},
    unfinished={5: [9]},
)


def test_records_say_what_is_verified(root):
    write_lvis(root, CONTENT)
    first, second = dataset_records("lvis_v1_val")
    assert first["file_name"] == str(root / "coco/val2017/000000000005.jpg")
    assert [(row["category_id"], row["bbox"]) for row in first["annotations"]] == [
        (3, [2, 3, 18, 27]),
        (0, [30, 5, 20, 20]),
    ]
    assert (first["neg_category_ids"], first["not_exhaustive_category_ids"]) == ([3], [9])
    assert (second["neg_category_ids"], second["annotations"]) == ([1, 2], [])


def test_classes_are_words_and_read_when_they_are_asked_for(root):
    name = "lvis_v1_val"
    assert kept(name).metadata.get("thing_classes") is None
    write_lvis(root, CONTENT)
    metadata = dataset_metadata(name)
    assert metadata.thing_classes == [
        "bow (weapon)", "bow (decorative ribbons)", "aerosol can", "flipper (footwear)",
    ]  # fmt: skip
    assert metadata.class_frequency == {1: "r", 2: "f", 3: "c", 9: "r"}
    vocabulary = dataset_vocabulary(name)
    assert vocabulary.texts == (
        "bow (weapon)", "bow (decorative ribbons)", "aerosol can", "flipper",
    )  # fmt: skip
    assert vocabulary.dataset_ids == (1, 2, 3, 9)
    assert read_vocabulary(name).texts == vocabulary.texts


@pytest.mark.parametrize(
    ("names", "texts"),
    [
        (["bow", "bow (weapon)"], ["bow", "bow (weapon)"]),
        (["Date (fruit)", "date"], ["Date (fruit)", "date"]),
        (["(x)", "pan (for cooking) lid"], ["(x)", "pan lid"]),
    ],
)
def test_what_is_in_parentheses_goes_where_names_stay_different(names, texts):
    assert spoken_names(names) == texts


def test_the_smaller_validation_set_has_its_published_name(root):
    rows = copy.deepcopy(CONTENT)
    for row in rows["images"]:  # MDETR's file has both
        row["file_name"] = f"{row['id']:012d}.jpg"
    write_lvis(root, rows, "lvis_v1_minival_inserted_image_name.json")
    records = dataset_records("lvis_v1_minival")
    assert records[0]["file_name"] == str(root / "coco/val2017/000000000005.jpg")
    assert dataset_metadata("lvis_v1_minival").evaluator_type == "lvis"


@pytest.mark.parametrize("split", ["train", "val", "minival"])
def test_a_missing_file_says_what_to_do(root, split):
    name = f"lvis_v1_{split}"
    with pytest.raises(FileNotFoundError, match=f"lvis_v1_{split}.*json does not exist; see LVIS"):
        dataset_metadata(name)
    with pytest.raises(FileNotFoundError, match="see LVIS under 'Datasets' in the documentation"):
        dataset_records(name)


def test_detectron2s_own_sets_of_that_name_stay(monkeypatch, root):
    """As in the real one, which registers both names with a loader of its own."""

    def load():
        return []

    load.__module__ = "detectron2.data.datasets.lvis"
    write_lvis(root, CONTENT)
    assert {"lvis_v1_train", "lvis_v1_val"} <= set(BUILTIN)
    with monkeypatch.context() as patch:
        patch.setattr(DatasetCatalog, "data", {"lvis_v1_val": load})
        assert DatasetCatalog.get("lvis_v1_val") == []
        assert len(dataset_records("lvis_v1_val")) == 2
        assert len(dataset_metadata("lvis_v1_val").thing_classes) == 4


def test_a_file_of_ones_own_is_known_by_its_form(tmp_path):
    content = copy.deepcopy(CONTENT)
    for row in content["images"]:
        row["file_name"] = f"val2017/{row['id']:012d}.jpg"
        del row["coco_url"]
    file = write_lvis(tmp_path, content)
    name = f"own_lvis_{tmp_path.name}"
    register_custom([[name, str(file), str(tmp_path / "coco"), ""]])
    assert dataset_metadata(name).evaluator_type == "lvis"
    assert len(dataset_metadata(name).thing_classes) == 4
    first, _ = dataset_records(name)
    assert first["neg_category_ids"] == [3]


def without(key, of, number):
    def change(content):
        del content[of][number][key]

    return change


def set_to(value, key, of, number):
    def change(content):
        content[of][number][key] = value

    return change


MISTAKES = {
    "no frequency": (without("frequency", "categories", 0), "needs 'frequency', a text"),
    "other frequency": (
        set_to("x", "frequency", "categories", 1),
        "category 1 needs 'frequency', one of r, c, f, got 'x'",
    ),
    "a name twice": (
        set_to("aerosol can", "name", "categories", 1),
        "have the name 'aerosol can' twice",
    ),
    "an id twice": (set_to(3, "id", "categories", 1), "have the id 3 twice"),
    "half verified": (
        without("not_exhaustive_category_ids", "images", 1),
        "images.1. needs 'not_exhaustive_category_ids', a list",
    ),
    "unlisted": (
        set_to([77], "neg_category_ids", "images", 0),
        "image 5: neg_category_ids: the file lists no category 77",
    ),
    "no photo": (without("coco_url", "images", 0), "needs 'file_name'"),
}


@pytest.mark.parametrize(("change", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(root, tmp_path, change, message):
    content = copy.deepcopy(CONTENT)
    file = write_lvis(root, content)
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        dataset_records("lvis_v1_val")
    name = f"own_lvis_{tmp_path.name}"
    with pytest.raises(DataError, match=message):
        own_records([name, str(file), str(root / "coco"), ""])


def own_records(row):
    register_custom([row])
    return dataset_records(row[0])


@pytest.mark.parametrize(
    ("categories", "message"),
    [([], "lists no categories"), (None, "has no list 'categories'")],
)
def test_a_file_without_classes_is_refused(root, categories, message):
    write_lvis(root, {**CONTENT, "categories": categories})
    with pytest.raises(DataError, match=message):
        dataset_metadata("lvis_v1_val")


def test_a_file_that_was_cut_off_is_no_json(root):
    file = write_lvis(root, CONTENT)
    file.write_text(file.read_text()[:-9])
    with pytest.raises(ValueError, match="is no JSON, or was cut off"):
        dataset_metadata("lvis_v1_val")
