"""A list of classes stays with its model, and its length is that of the model's outputs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from freeseg import add_freeseg_config
from freeseg.catalog import dataset_metadata, dataset_vocabulary, listed_vocabulary
from freeseg.checkpoints import write_checkpoint
from freeseg.class_matching import match_classes
from freeseg.classes import (
    accepts_auto,
    check_same_classes,
    class_list_of,
    closed_vocabulary,
    config_takes_classes,
    fill_num_classes,
    fixed_vocabulary,
    knows_classes,
    model_vocabulary,
    order_warning,
    read_class_list,
    trained_vocabulary,
    with_own_classes,
    write_class_list,
)
from freeseg.engine import load_config
from freeseg.structures import CLASSES_KEY, Takes, Vocabulary, class_rows, vocabulary_of_rows

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

# lists on the disk


ROWS = [
    {"id": 3, "name": "tree, bush", "isthing": 0, "seen": 1},
    {"id": 0, "name": "Zwölf ☂", "isthing": 1, "seen": 0, "synonyms": ["twelve", "dozen"]},
    {"id": 71, "name": "x", "isthing": 1, "seen": 1},
]


def test_a_list_comes_back_as_it_was_written(tmp_path):
    vocabulary = vocabulary_of_rows(ROWS, "here")
    write_class_list(class_rows(vocabulary), tmp_path / "new" / "folder")
    path = tmp_path / "new" / "folder" / "classes.json"
    again = read_class_list(path)
    assert again == vocabulary
    assert again.dataset_ids == (3, 0, 71)
    assert again.is_seen == (True, False, True)
    assert again.synonyms == (("tree, bush",), ("twelve", "dozen"), ("x",))
    assert class_rows(again) == ROWS == json.loads(path.read_text())


def test_rows_without_ids_are_numbered():
    plain = vocabulary_of_rows([{"name": "b"}, {"name": "a", "isthing": 0}], "here")
    assert (plain.dataset_ids, plain.is_thing, plain.is_seen) == ((0, 1), (True, False), None)
    unlisted = Vocabulary(("a", "b"), (True, True), dataset_ids=(None, 4))
    assert [row["id"] for row in class_rows(unlisted)] == [0, 4]


BAD_ROWS = {
    "no list": ({"a": 1}, "found none"),
    "empty": ([], "found none"),
    "no name": ([{"id": 1}], "KeyError"),
    "empty name": ([{"name": ""}], "every class needs a name"),
    "a name twice": ([{"name": "a"}, {"name": "b"}, {"name": "a"}], "the same name, 'a'"),
    "an id twice": ([{"name": "a", "id": 4}, {"name": "b", "id": 4}], "the same id, 4"),
    "no rows": ([1, 2], "TypeError"),
}


@pytest.mark.parametrize(("rows", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_what_is_no_list_is_refused_with_its_source(rows, message):
    with pytest.raises(ValueError, match=f"the file: a class list is .*{message}"):
        vocabulary_of_rows(rows, "the file")


def test_lists_of_many_classes_are_read_at_once():
    rows = [{"name": f"class {n}", "id": n} for n in range(40_000)]
    assert len(vocabulary_of_rows(rows, "here")) == 40_000


@pytest.fixture
def cfg():
    config = get_cfg()
    add_freeseg_config(config)
    return config


@pytest.fixture
def named():
    """Registers class names, without records, for one test."""
    names = []

    def register(*classes, name="classes_of_a_test"):
        dataset_metadata(name).set(thing_classes=list(classes))
        names.append(name)
        return name

    yield register
    for name in names:
        MetadataCatalog.remove(name)


def checkpoint(path, **content):
    torch.save({"model": {"weight": torch.zeros(2)}, **content}, path)
    return str(path)


def test_the_list_beside_a_checkpoint_or_in_it_is_the_model_s(tmp_path, cfg):
    rows = [{"id": 1, "name": "jay", "isthing": 1}, {"id": 2, "name": "elk", "isthing": 1}]
    bare = checkpoint(tmp_path / "bare.pth")
    inside = checkpoint(tmp_path / "inside.pth", **{CLASSES_KEY: rows})
    assert class_list_of(bare) == ""
    assert class_list_of(inside) == inside
    assert read_class_list(inside).names == ("jay", "elk")
    cfg.MODEL.WEIGHTS = inside
    assert inside == with_own_classes(cfg).MODEL.CLASSES
    assert cfg.MODEL.CLASSES == "", "the given configuration stays as it is"
    assert trained_vocabulary(with_own_classes(cfg)).names == ("jay", "elk")
    write_class_list(rows[::-1], tmp_path)
    beside = str(tmp_path / "classes.json")
    assert class_list_of(bare) == class_list_of(tmp_path) == beside
    assert class_list_of(inside) == inside, "its own goes before"
    cfg.MODEL.WEIGHTS = bare
    assert trained_vocabulary(with_own_classes(cfg)).names == ("elk", "jay")


def test_without_a_list_nothing_is_changed(tmp_path, cfg):
    for weights in ("", "detectron2://a/b.pkl", str(tmp_path / "none.pth")):
        cfg.MODEL.WEIGHTS = weights
        assert with_own_classes(cfg) is cfg
    (tmp_path / "notes.pth").write_text("no archive")
    odd = checkpoint(tmp_path / "odd.pth", classes="three")
    assert class_list_of(tmp_path / "notes.pth") == class_list_of(odd) == ""
    cfg.MODEL.WEIGHTS, cfg.MODEL.CLASSES = odd, "chosen.json"
    assert with_own_classes(cfg).MODEL.CLASSES == "chosen.json"


def rows_of(*names, stuff=()):
    return [
        {"id": 9 - place, "name": name, "isthing": int(name not in stuff)}
        for place, name in enumerate(names)
    ]


def test_a_run_goes_on_with_its_own_classes_alone(tmp_path):
    weights = str(tmp_path / "model.pth")
    checkpoint(tmp_path / "model.pth")
    check_same_classes(rows_of("jay", "elk"), weights)  # of a run before there were lists
    write_class_list(rows_of("jay", "elk"), tmp_path)
    check_same_classes([{**row, "id": row["id"] + 7} for row in rows_of("jay", "elk")], weights)
    for other in (("elk", "jay"), ("jay",), ("jay", "elk", "owl")):
        with pytest.raises(ValueError, match=r"cannot resume: the training set lists "):
            check_same_classes(rows_of(*other), weights)
    with pytest.raises(ValueError, match=r"lists elk \(stuff\), but .* of the run .*, elk;"):
        check_same_classes(rows_of("jay", "elk", stuff=["elk"]), weights)


def test_a_checkpoints_own_list_goes_before_the_one_beside(tmp_path):
    """A folder may have been trained in again, with another order."""
    own = checkpoint(tmp_path / "old.pth", classes=rows_of("jay", "elk"))
    write_class_list(rows_of("elk", "jay"), tmp_path)
    assert class_list_of(own) == str(own)
    assert read_class_list(class_list_of(own)).names == ("jay", "elk")
    with pytest.raises(ValueError, match="cannot resume"):
        check_same_classes(rows_of("elk", "jay"), str(own))


def test_safetensors_carry_the_list(tmp_path):
    path = tmp_path / "model.safetensors"
    write_checkpoint({"a": torch.ones(2)}, path, classes=rows_of("jay", "elk", stuff=["elk"]))
    classes = read_class_list(class_list_of(path))
    assert (classes.names, classes.is_thing, classes.dataset_ids) == (
        ("jay", "elk"),
        (True, False),
        (9, 8),
    )
    write_checkpoint({"a": torch.ones(2)}, path)
    assert class_list_of(path) == ""


def test_weights_of_the_same_classes_in_another_order_are_said(tmp_path):
    weights = str(checkpoint(tmp_path / "old.pth", classes=rows_of("jay", "elk", "owl")))
    line = order_warning(rows_of("elk", "jay", "owl"), weights)
    assert "old.pth has the classes of the training set in another order (jay, elk, owl" in line
    assert order_warning(rows_of("jay", "elk", "owl"), weights) == ""
    assert order_warning(rows_of("jay", "elk"), weights) == ""  # Detectron2 says of shapes
    assert order_warning(rows_of("jay", "elk", "owl"), "") == ""


# NUM_CLASSES


def test_auto_is_as_many_as_the_training_set_lists(cfg, named, tmp_path):
    with accepts_auto(cfg):
        cfg.merge_from_list(["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "auto"])
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 0
    cfg.DATASETS.TRAIN = (named("a", "b", "c", "d", "e"),)
    cfg.freeze()
    assert len(closed_vocabulary(cfg)) == 5
    fill_num_classes(cfg)
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 5
    assert cfg.is_frozen()
    fill_num_classes(cfg)


def test_auto_may_be_said_over_the_number_of_a_file(tmp_path):
    from detectron2.engine import default_argument_parser

    path = tmp_path / "a.yaml"
    path.write_text("MODEL:\n  SEM_SEG_HEAD:\n    NUM_CLASSES: 4\n")
    key = "MODEL.SEM_SEG_HEAD.NUM_CLASSES"
    for said, expected in (("auto", 0), ("6", 6), (None, 4)):
        options = [] if said is None else [key, said]
        arguments = ["--config-file", str(path), *options]
        found = load_config(default_argument_parser().parse_args(arguments))
        assert expected == found.MODEL.SEM_SEG_HEAD.NUM_CLASSES


@pytest.mark.parametrize("said", ["many", "1.5", "True", "[3]"])
def test_other_words_than_auto_are_refused(cfg, said):
    before = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    with pytest.raises(ValueError, match="NUM_CLASSES is a number or auto, got"), accepts_auto(cfg):
        cfg.merge_from_list(["MODEL.SEM_SEG_HEAD.NUM_CLASSES", said])
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = before
    with accepts_auto(cfg):
        pass
    assert before == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES


@pytest.mark.parametrize("number", [1, 2, 4])
def test_another_number_is_refused_with_both_and_the_names(cfg, named, number):
    cfg.DATASETS.TRAIN = (named("a", "b", "c"),)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = number
    with pytest.raises(ValueError, match=rf"is {number}, but classes_of_a_test lists 3 .*\(a, b"):
        fill_num_classes(cfg)


def test_a_model_that_takes_any_classes_has_those_of_its_training_whatever_the_number(
    cfg, named, caplog
):
    cfg.DATASETS.TRAIN = (named("a", "b", "c"),)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = "FreeSeg", 2
    fill_num_classes(cfg)
    assert closed_vocabulary(cfg).names == ("a", "b", "c")
    assert not caplog.records


def test_of_a_configuration_without_a_training_set_the_test_set_counts(cfg, named):
    cfg.DATASETS.TEST, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = (named("a", "b"),), 9
    with pytest.raises(ValueError, match="is 9, but classes_of_a_test lists 2 classes"):
        fill_num_classes(cfg)


def test_auto_without_names_is_refused(cfg):
    cfg.DATASETS.TRAIN, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = ("a_set_without_names",), 0
    with pytest.raises(ValueError, match="no class names are known of a_set_without_names"):
        fill_num_classes(cfg)


def test_classes_without_names_are_numbered(cfg, caplog):
    cfg.DATASETS.TRAIN, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = ("a_set_without_names",), 2
    with caplog.at_level(logging.WARNING):
        assert closed_vocabulary(cfg).names == ("class 0", "class 1")
    assert "no names for 2 classes (a_set_without_names): they are numbered" in caplog.text


def test_the_classes_of_a_set_are_those_of_its_metadata_or_it_is_refused(named):
    assert listed_vocabulary(named("a", "b")) == dataset_vocabulary("classes_of_a_test")
    assert dataset_vocabulary("classes_of_a_test").names == ("a", "b")
    dataset_metadata("classes_of_a_test").set(stuff_classes=["a", "b", "c"])
    assert listed_vocabulary("classes_of_a_test").names == ("a", "b", "c")
    assert dataset_vocabulary("a_set_without_names") is None
    with pytest.raises(ValueError, match="dataset a_set_without_names names no classes: its meta"):
        listed_vocabulary("a_set_without_names")


def test_a_built_system_says_its_classes_and_the_configuration_those_of_others(cfg, named):
    cfg.DATASETS.TRAIN = (named("a", "b"),)
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = "GuestNet", 2
    model = torch.nn.Linear(1, 1)
    assert model_vocabulary(model, cfg).names == ("a", "b")
    model.vocabulary = Vocabulary(("c", "d", "e"), (True,) * 3)
    assert model_vocabulary(model, cfg) is model.vocabulary
    model.vocabulary = torch.nn.Embedding(9, 2)  # a guest's, of words
    assert model_vocabulary(model, cfg).names == model_vocabulary(None, cfg).names == ("a", "b")
    with pytest.raises(ValueError, match="Linear has no vocabulary of its own: give the argument"):
        model_vocabulary(model)
    model.vocabulary, model.answers = None, {"object": Takes()}  # a system without classes
    assert model_vocabulary(model, cfg).names == model_vocabulary(model).names == ("object",)


@pytest.mark.parametrize("name", ["Mask2Former", "FreeSeg"])
def test_only_a_model_that_takes_no_others_has_fixed_classes(cfg, named, name):
    cfg.DATASETS.TRAIN, cfg.MODEL.META_ARCHITECTURE = (named("a", "b"),), name
    found = fixed_vocabulary(cfg)
    assert (found and found.names) == (None if name == "FreeSeg" else ("a", "b"))
    cfg.DATASETS.TRAIN = ("a_set_without_names",)
    assert fixed_vocabulary(cfg) is None


ALL = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("name", ALL)
def test_every_configuration_agrees_with_its_sets(cfg, name):
    with accepts_auto(cfg):
        cfg.merge_from_file(str(CONFIGS / name))
    if not cfg.DATASETS.TRAIN or not knows_classes(cfg):
        return  # a base of others, or of a system of none
    fill_num_classes(cfg)
    known = trained_vocabulary(cfg)
    assert known is not None
    if config_takes_classes(cfg):
        return
    assert len(known) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    for test in cfg.DATASETS.TEST:
        other = dataset_vocabulary(test)
        assert match_classes(other, known).unknown == ()
