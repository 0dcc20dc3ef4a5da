"""Classes of Hugging Face folders: names, things, and one line for what is wrong with them."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from freeseg.catalog import dataset_metadata
from freeseg.checkpoints.hugging_face_labels import Labels, read_labels
from freeseg.checkpoints.hugging_face_processor import read_processor
from freeseg.structures import Vocabulary

sys.path.insert(0, str(Path(__file__).parents[1]))
from hugging_face_ports import mask2former_pair

FRUIT = {"0": "apple", "1": "table", "2": "pear"}


def labels_of(folder: Path, id2label: object = None, processor: dict | None = None, **port):
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    if id2label is not None:
        port["id2label"] = id2label
    return read_labels(folder, port, read_processor(folder, "oneformer"))


def vocabulary_of(labels: Labels, folder: Path) -> Vocabulary:
    _, test = labels.register(f"classes of {folder}")
    return Vocabulary.from_metadata(dataset_metadata(test), len(labels.names))


def rows(names: list[str], things: set[int]) -> str:
    return json.dumps(
        [
            {"id": 10 * label, "name": name, "isthing": int(label in things)}
            for label, name in enumerate(names)
        ]
    )


def test_own_classes_are_all_things_as_in_the_port_and_that_is_said(tmp_path):
    labels = labels_of(tmp_path, FRUIT)
    vocabulary = vocabulary_of(labels, tmp_path)
    assert vocabulary.names == ("apple", "table", "pear")
    assert vocabulary.is_thing == (True, True, True)
    assert labels.doubts() == "does not say which classes are things: all are taken for things"


@pytest.mark.parametrize("form", ["metadata", "file"])
def test_things_are_those_of_the_processors_metadata(tmp_path, form):
    # the port's own reader of class_info_file is the oracle for what the file means
    port = pytest.importorskip("transformers.models.oneformer.image_processing_pil_oneformer")
    info = {
        "0": {"isthing": 1, "name": "apple"},
        "1": {"isthing": 0, "name": "table"},
        "2": {"isthing": 1, "name": "pear"},
    }
    (tmp_path / "fruit.json").write_text(json.dumps(info))
    metadata = port.prepare_metadata(port.load_metadata(str(tmp_path), "fruit.json"))
    processor = {"class_info_file": "fruit.json"}
    if form == "metadata":
        processor = {"class_info_file": "on_the_hub.json", "metadata": metadata}
    labels = labels_of(tmp_path, FRUIT, processor)
    assert sorted(labels.things) == metadata["thing_ids"] == [0, 2]
    assert vocabulary_of(labels, tmp_path).is_thing == (True, False, True)
    assert labels.doubts() == ""


def test_a_file_beside_it_says_more_than_all_else(tmp_path):
    (tmp_path / "classes.json").write_text(rows(["road", "car"], {1}))
    labels = labels_of(tmp_path, {"0": "LABEL_0", "1": "LABEL_1"}, {"metadata": {"thing_ids": [0]}})
    assert vocabulary_of(labels, tmp_path).names == ("road", "car")
    assert vocabulary_of(labels, tmp_path).is_thing == (False, True)
    assert labels.ids == (0, 10)
    assert labels.doubts() == ""


@pytest.mark.parametrize(
    ("dataset", "key"),
    [
        ("coco_2017_val", "thing_classes"),
        ("coco_2017_val_panoptic", "stuff_classes"),
        ("ade20k_panoptic_val", "stuff_classes"),
        ("ade20k_instance_val", "thing_classes"),
        ("cityscapes_fine_panoptic_val", "stuff_classes"),
        ("cityscapes_fine_instance_seg_val", "thing_classes"),
        ("mapillary_vistas_panoptic_val", "stuff_classes"),
    ],
)
def test_a_datasets_names_bring_its_things(tmp_path, dataset, key):
    metadata = dataset_metadata(dataset)
    names = metadata.get(key)
    by_label = {str(label): f"{name}, another word" for label, name in enumerate(names)}
    labels = labels_of(tmp_path, by_label)
    assert labels.register("unused")[1] == dataset
    expected = set(metadata.thing_dataset_id_to_contiguous_id.values())
    assert labels.things == expected
    assert (len(expected) == len(names)) == (key == "thing_classes")
    assert labels.doubts() == ""


def test_a_known_number_of_classes_is_not_yet_a_known_dataset(tmp_path):
    labels = labels_of(tmp_path, {str(label): f"fruit {label}" for label in range(19)})
    assert labels.datasets is None
    assert labels.names[18] == "fruit 18"


def test_other_things_than_the_datasets_are_kept(tmp_path):
    names = dataset_metadata("cityscapes_fine_panoptic_val").stuff_classes
    by_label = dict(zip(map(str, range(19)), names))
    labels = labels_of(tmp_path, by_label, {"metadata": {"thing_ids": [0, 5]}})
    assert labels.datasets is None
    assert labels.things == {0, 5}


def test_labels_that_nobody_named_are_said(tmp_path):
    labels = labels_of(tmp_path, {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})
    assert labels.names == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert labels.doubts().startswith("does not name its 3 classes and does not say which")
    # what transformers takes where config.json says nothing, and where only the number is there
    assert labels_of(tmp_path).names == ("LABEL_0", "LABEL_1")
    assert labels_of(tmp_path, num_labels=4).names[3] == "LABEL_3"


@pytest.mark.parametrize(
    ("id2label", "port", "message"),
    [
        ({"0": "a", "1": "b", "3": "d"}, {}, "no name for 2 and names for 3, wanted .* 0 to 2"),
        ({"1": "a", "2": "b"}, {}, "no name for 0 and names for 2"),
        ({"0": "a", "1": "b"}, {"num_labels": 12}, "no name for 2, 3, 4, 5, 6 and 5 more, wanted"),
        ({"0": "a", "1": "b"}, {"num_labels": 1}, "names for 1, wanted"),
        ({"cat": "0", "dog": "1"}, {}, "no name for 0, 1 and names for cat, dog"),
        (["a", "b"], {}, "no name for 0, 1, wanted"),
    ],
)
def test_gaps_and_wrong_numbers_of_names_are_one_line(tmp_path, id2label, port, message):
    with pytest.raises(ValueError, match=rf"config.json: id2label has {message}") as caught:
        labels_of(tmp_path, id2label, **port)
    assert "\n" not in str(caught.value)
    assert "name all classes in classes.json beside it" in str(caught.value)


def test_a_file_beside_it_mends_gaps(tmp_path):
    (tmp_path / "classes.json").write_text(rows(["a", "b", "c"], {0}))
    assert labels_of(tmp_path, {"0": "a", "1": "b", "3": "d"}).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"id": 1, "name": "a"}]', "names 1 classes, config.json has 2"),
        ('[{"id": 1}, {"id": 2}]', ".*a list of rows .*KeyError"),
        ('["a", "b"]', ".*(a list of rows|is no JSON)"),
        ("{", ".*(a list of rows|is no JSON)"),
        ('[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]', ".*two classes have the same id"),
    ],
)
def test_a_wrong_class_file_is_one_line(tmp_path, content, message):
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=rf"classes.json:? {message}") as caught:
        labels_of(tmp_path, {"0": "a", "1": "b"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"thing_ids": [1, 7]}, "has things 7, there are 3 classes"),
        ({"thing_ids": ["apple"]}, "thing_ids is a list of labels"),
    ],
)
def test_wrong_metadata_is_one_line(tmp_path, metadata, message):
    with pytest.raises(ValueError, match=f"metadata of preprocessor_config.json:? {message}"):
        labels_of(tmp_path, FRUIT, {"metadata": metadata})


def test_loading_warns_once_of_what_nobody_says(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        mask2former_pair(tmp_path, "swin")
    lines = [record.message for record in caplog.records if "things" in record.message]
    assert len(lines) == 1
    assert lines[0].endswith("all are taken for things; classes.json beside it can say")
