"""What the sets of a job are looked at for, whole, by the configuration's keys."""

from __future__ import annotations

import pytest

from freeseg.data.check import CheckSettings, DatasetSummary
from freeseg.data.problems import DataError, Problems
from freeseg.engine import dataset_checks
from freeseg.engine.dataset_checks import check_all, check_datasets

FULL = CheckSettings().white_level
BOTH = ("DATASETS.TRAIN", ("tiny_train",), "DATASETS.TEST", ("tiny_val",))
ONE = ("DATASETS.TRAIN", ("tiny_val",), "DATASETS.TEST", ("tiny_val",))
TEST_ON = "MODEL.MASK_FORMER.TEST."
ALL_ON = tuple(f"{TEST_ON}{task}_ON" for task in ("PANOPTIC", "INSTANCE"))
WORDS = ["instance segmentation.", "semantic segmentation."]
UNIFIED = ("INPUT.DATASET_MAPPER_NAME", "coco_full_lsj", "INPUT.TASK_NAME", WORDS)
QUERIES = ("MODEL.META_ARCHITECTURE", "Mask2Former", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 37)
ONE_FORMER = ("MODEL.META_ARCHITECTURE", "OneFormer", "MODEL.SEM_SEG_HEAD.NAME", "OneFormerHead")
ONE_FORMER += ("MODEL.ONE_FORMER.NUM_OBJECT_QUERIES", 41, "MODEL.TEST.SEMANTIC_ON", True)
TRAIN = {"is_train": True, "is_test": False, "tasks": ("semantic",)}
TEST = {"is_train": False, "is_test": True, "tasks": ("semantic",)}

# options -> what differs from the defaults, by set
TABLE = {
    "plain": (BOTH, {"tiny_train": TRAIN, "tiny_val": TEST}),
    "one for both": (ONE, {"tiny_val": {**TEST, "is_train": True}}),
    "twins": ((*ONE, "DATASETS.MERGE_TWINS", True), {"tiny_val": {"merge_twins": True}}),
    "frame": ((*ONE, "INPUT.EXIF", "stored"), {"tiny_val": {"frame": "stored"}}),
    "white": ((*ONE, "INPUT.WHITE_LEVEL", 4095), {"tiny_val": {"white_level": 4095}}),
    "queries": (
        (*ONE, *QUERIES),
        {
            "tiny_val": {
                "max_objects": 37,
                "max_objects_key": "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES",
            }
        },
    ),
    "OneFormer": (
        (*ONE, *ONE_FORMER),
        {
            "tiny_val": {
                "max_objects": 41,
                "max_objects_key": "MODEL.ONE_FORMER.NUM_OBJECT_QUERIES",
            }
        },
    ),
    "another mapper": ((*BOTH, "INPUT.DATASET_MAPPER_NAME", "mine"), {"tiny_train": {"tasks": ()}}),
    "a task by name": (
        (*BOTH, "INPUT.TASK", "instance"),
        {"tiny_train": {"tasks": ("instance",)}, "tiny_val": TEST},
    ),
    "a random task": ((*BOTH, "INPUT.TASK", "random"), {"tiny_train": {"tasks": ()}}),
    "tasks of batches": (
        (*BOTH, *UNIFIED),
        {"tiny_train": {"tasks": ("instance", "semantic")}, "tiny_val": TEST},
    ),
    "both in order": ((*ONE, *UNIFIED), {"tiny_val": {"tasks": ("instance", "semantic")}}),
}


@pytest.fixture
def asked(monkeypatch):
    """What sets are looked at for; their photos are few and partly the same."""
    found: dict[str, CheckSettings] = {}
    photos = {"tiny_train": {"b.png", "a.png", "c.png"}, "tiny_val": {"c.png", "b.png", "z.png"}}

    def look(name, settings, problems):
        found[name] = settings
        return DatasetSummary(name, frozenset(photos[name]), 7, 3)

    monkeypatch.setattr(dataset_checks, "check_dataset", look)
    return found


@pytest.mark.parametrize(("options", "expected"), TABLE.values(), ids=TABLE)
def test_a_set_is_looked_at_for_what_it_serves(tiny_config, asked, options, expected):
    cfg = tiny_config(*options)
    problems = Problems()
    check_all(cfg, problems)
    assert problems.errors == []
    used = dict.fromkeys((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST))
    assert list(asked) == list(used)
    plain = {"max_objects_key": "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "white_level": FULL}
    for name, settings in asked.items():
        uses = {"is_train": name in cfg.DATASETS.TRAIN, "is_test": name in cfg.DATASETS.TEST}
        whole = {**plain, **uses, "tasks": ("semantic",), **expected.get(name, {})}
        assert settings == CheckSettings(**whole)


def test_sets_that_are_named_are_looked_at_alone_and_for_training(tiny_config, asked):
    summaries = check_all(tiny_config(), Problems(), names=["tiny_val", "tiny_train", "tiny_val"])
    assert [one.name for one in summaries] == list(asked) == ["tiny_val", "tiny_train"]
    asked.clear()
    problems = Problems()
    [summary] = check_all(tiny_config(), problems, is_training=False)
    assert (summary.name, summary.objects) == ("tiny_val", 7)
    assert asked["tiny_val"].is_train is False
    assert problems.warnings == []
    check_all(tiny_config(), problems, is_training=False, names=["tiny_train"])
    assert asked["tiny_train"].is_train is True


def test_photos_to_train_and_to_test_on_are_told(tiny_config, asked):
    problems = Problems()
    check_all(tiny_config(*BOTH), problems)
    [line] = problems.warnings
    assert line.startswith("tiny_val: 2 of 3 photos are trained on as well, such as b.png: ")
    for options, names in ((ONE, ()), (BOTH, ("tiny_val",))):
        silent = Problems()
        check_all(tiny_config(*options), silent, names=names)
        assert silent.warnings == []


def test_classes_that_are_not_known_are_refused_or_left_out(tiny_config, asked, loader):
    other = loader([], stuff_classes=["left", "cup", "disc"], evaluator_type="sem_seg")
    options = ("DATASETS.TEST", (other,), "DATASETS.CHECK", False)
    problems = Problems()
    check_all(tiny_config(*options), problems)
    [line] = problems.errors
    assert f"dataset {other} has classes that the model was not trained on: cup; " in line
    told = Problems()
    assert check_all(tiny_config(*options, "DATASETS.IGNORE_UNKNOWN", True), told) == []
    assert (told.errors, told.warnings) == ([], [f"{other}: the model does not know cup: left out"])


def test_a_set_without_classes_is_judged_by_nobodys_names(tiny_config, asked, loader):
    bare = loader([], evaluator_type="sem_seg")
    for options in (("DATASETS.TEST", (bare,)), ("DATASETS.TRAIN", (bare,))):
        problems = Problems()
        check_all(tiny_config(*options, "DATASETS.CHECK", False), problems)
        assert not any("was not trained on" in line for line in problems.errors)


def test_what_is_wrong_with_metadata_is_told_alone(tiny_config, asked, loader):
    bad = loader([], stuff_classes=["left", 2])
    problems = Problems()
    assert check_all(tiny_config("DATASETS.TEST", (bad,)), problems) == []
    assert len(problems.errors) == 1
    assert not asked


def test_training_sets_must_have_the_same_classes(tiny_config, asked, loader):
    other = loader([], stuff_classes=["left", "right", "cup"], evaluator_type="sem_seg")
    cfg = tiny_config("DATASETS.TRAIN", ("tiny_train", other), "DATASETS.CHECK", False)
    problems = Problems()
    check_all(cfg, problems)
    assert any(other in line and "cup" in line for line in problems.errors)
    silent = Problems()
    check_all(cfg, silent, is_training=False)
    assert silent.errors == []


def test_texts_that_read_alike_are_refused_for_models_that_read(tiny_config, asked, loader):
    alike = loader([], stuff_classes=["Cup", "cup"], evaluator_type="sem_seg")
    reads = ("MODEL.META_ARCHITECTURE", "FreeSeg", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2)
    sets = ("DATASETS.TRAIN", (alike,), "DATASETS.TEST", (alike,), "DATASETS.CHECK", False)
    problems = Problems()
    check_all(tiny_config(*sets, *reads), problems)
    assert any("'Cup' and 'cup' have the same text" in line for line in problems.errors)
    silent = Problems()
    check_all(tiny_config(*sets, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", 2), silent)
    assert not any("same text" in line for line in silent.errors)


@pytest.mark.parametrize("check", [True, False])
def test_a_set_that_cannot_be_judged_is_said_once(tiny_config, asked, check, monkeypatch):
    def refuse(cfg, name):
        raise DataError([f"{name} is empty"])

    monkeypatch.setattr(dataset_checks, "wanted_tasks", refuse)
    problems = Problems()
    check_all(tiny_config("DATASETS.CHECK", check), problems)
    assert problems.errors == ([] if check else ["tiny_val is empty"])
    assert bool(asked) == check


@pytest.mark.parametrize("is_main", [True, False])
def test_every_process_hears_what_the_main_one_found(tiny_config, monkeypatch, is_main):
    monkeypatch.setattr(dataset_checks.comm, "is_main_process", lambda: is_main)
    told = []

    def gather(lines):
        told.append(lines)
        return [["of the main process", "and this"], []]

    monkeypatch.setattr(dataset_checks.comm, "all_gather", gather)
    fault = KeyError("a bug")

    def look(cfg, is_training):
        raise fault

    monkeypatch.setattr(dataset_checks, "_problems_of", look)
    with pytest.raises(KeyError if is_main else DataError) as refused:
        check_datasets(tiny_config())
    assert told == [["'a bug'"] if is_main else []]
    if is_main:
        assert refused.value is fault
    else:
        assert refused.value.problems == ("of the main process", "and this")


def test_custom_sets_are_registered_before_they_are_looked_at(tiny_config, monkeypatch):
    order = []
    monkeypatch.setattr(dataset_checks, "register_custom", lambda rows: order.append(list(rows)))

    def look(cfg, problems, *, is_training):
        order.append(is_training)

    monkeypatch.setattr(dataset_checks, "check_all", look)
    for is_training in (True, False):
        check_datasets(tiny_config(), is_training=is_training)
    assert order == [[], True, [], False]


def test_custom_sets_that_cannot_be_registered_are_the_one_thing_told(tiny_config, monkeypatch):
    def refuse(rows):
        raise DataError(["the first line", "the second"])

    monkeypatch.setattr(dataset_checks, "register_custom", refuse)
    monkeypatch.setattr(dataset_checks, "check_all", lambda *_, **__: pytest.fail("looked at"))
    with pytest.raises(DataError) as told:
        check_datasets(tiny_config())
    assert told.value.problems == ("the first line", "the second")
