"""What is asked: prompts as rows, kinds of what is said, and what a system takes of them."""

from __future__ import annotations

import re

import pytest
import torch

from freeseg.structures import (
    EverythingSettings,
    Example,
    Marks,
    Prompt,
    Request,
    Takes,
    Task,
    Vocabulary,
    answered_tasks,
    read_tasks,
    refuse_unanswered,
    takes_classes,
)

SIZE = (6, 8)
CLASSES = Vocabulary.from_classes(["cat", "sky: stuff"])
IMAGE = torch.zeros(3, *SIZE, dtype=torch.uint8)
MASKS = torch.ones(2, *SIZE, dtype=torch.bool)
TWO_POINTS = Marks.read(SIZE, points=[[(1, 1)], [(2, 2), (3, 3)]])


@pytest.mark.parametrize(
    ("prompt", "rows", "kinds"),
    {
        "nothing": (Prompt(), 0, set()),
        "classes": (Prompt(vocabulary=CLASSES), 0, {"classes"}),
        "points": (Prompt(TWO_POINTS), 2, {"points"}),
        "a box": (Prompt(Marks.read(SIZE, boxes=[0, 0, 2, 2])), 1, {"boxes"}),
        "a phrase": (Prompt(phrases=("the cat", None)), 2, {"phrases"}),
        "rows without a phrase": (Prompt(phrases=(None, None)), 2, set()),
        "a phrase beside a point": (
            Prompt(TWO_POINTS, phrases=("the cat", None)),
            2,
            {"points", "phrases"},
        ),
        "examples": (Prompt(examples=(Example(IMAGE, MASKS),)), 0, {"examples"}),
        "a row of an example": (
            Prompt(examples=(Example(IMAGE, MASKS),), example_ids=(1,)),
            1,
            {"examples"},
        ),
        "everything": (Prompt(everything=EverythingSettings()), 0, {"everything"}),
        "no object": (Prompt(Marks.read(SIZE, points=torch.zeros(0, 1, 2))), 0, set()),
    }.values(),
    ids=lambda value: None,
)
def test_a_prompt_knows_its_rows_and_what_kinds_are_there(prompt, rows, kinds):
    assert len(prompt) == rows
    assert prompt.kinds == kinds


def test_a_prompt_for_everything_points_at_nothing():
    prompt = Prompt(everything=EverythingSettings())
    assert prompt.kinds == {"everything"}
    assert len(prompt) == 0
    with pytest.raises(ValueError, match="points at nothing: it has marks"):
        Prompt(everything=EverythingSettings(), marks=TWO_POINTS)
    with pytest.raises(ValueError, match="everything is EverythingSettings, got dict"):
        Prompt(everything={})


def test_windows_of_a_photo_are_no_request_about_an_image():
    answers = {Task.OBJECT: Takes(needs=frozenset({"everything"}))}
    whole, windows = (Prompt(everything=EverythingSettings(crop_layers=n)) for n in (0, 2))
    refuse_unanswered("It", answers, [Request(0, (Task.OBJECT,), whole)])
    with pytest.raises(ValueError, match="2 crop_layers are windows of the photo itself"):
        refuse_unanswered("It", answers, [Request(0, (Task.OBJECT,), windows)])


def test_rows_of_a_prompt_are_the_same_objects():
    with pytest.raises(ValueError, match="rows are objects: marks of 2, phrases of 1"):
        Prompt(TWO_POINTS, phrases=("the cat",))
    with pytest.raises(ValueError, match="marks of 2, phrases of 2, example_ids of 3"):
        Prompt(TWO_POINTS, phrases=("a", "b"), example_ids=(0, 1, None))


@pytest.mark.parametrize("blank", ["", "  ", "\t\n"])
def test_empty_phrases_are_refused_by_number(blank):
    with pytest.raises(ValueError, match="phrase 1 is empty"):
        Prompt(phrases=("the cat", blank))


def test_phrases_that_are_no_text_are_refused_by_number():
    with pytest.raises(TypeError, match="phrase 1 must be text or None, got 3"):
        Prompt(phrases=(None, 3))


def test_an_empty_class_list_is_refused_and_none_is_the_models_own():
    with pytest.raises(ValueError, match="vocabulary is empty; name a class, or leave it out"):
        Prompt(vocabulary=CLASSES.select([]))
    assert Request(0, (Task.SEMANTIC,)).vocabulary(CLASSES) is CLASSES
    other = Vocabulary.from_classes(["dog"])
    asked = Request(0, (Task.SEMANTIC,), Prompt(vocabulary=other))
    assert asked.vocabulary(CLASSES) is other


@pytest.mark.parametrize(
    ("fields", "message"),
    {
        "masks of another size": (
            {"masks": torch.ones(2, 5, 8)},
            "masks (2, 5, 8) of an example do not lie on its image (3, 6, 8)",
        ),
        "one mask without its axis": ({"masks": torch.ones(SIZE)}, "masks (6, 8) of an example"),
        "labels": (
            {"labels": torch.zeros(1), "vocabulary": CLASSES},
            "an example has 2 masks and 1 labels",
        ),
        "ids": ({"ids": torch.zeros(3)}, "an example has 2 masks and 3 ids"),
        "labels of no list": ({"labels": torch.zeros(2)}, "labels and its vocabulary come togeth"),
        "a list of no labels": ({"vocabulary": CLASSES}, "labels and its vocabulary come together"),
    }.values(),
    ids=lambda value: None,
)
def test_what_is_no_example_is_said(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Example(**{"image": IMAGE, "masks": MASKS, **fields})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("panoptic",), (Task.PANOPTIC,)),
        (["semantic", "instance"], (Task.SEMANTIC, Task.INSTANCE)),
        (("instance", "semantic", "instance"), (Task.INSTANCE, Task.SEMANTIC)),
        ((Task.OBJECT, "object"), (Task.OBJECT,)),
    ],
)
def test_tasks_are_read_in_their_order_and_once(given, expected):
    read = read_tasks(given)
    assert read == expected
    assert all(isinstance(task, Task) for task in read)


@pytest.mark.parametrize("wrong", [(), [], "semantic", None, 3, ("semantic", "depth"), (None,)])
def test_what_is_no_selection_of_tasks_is_refused_with_the_known(wrong):
    with pytest.raises(ValueError, match="semantic, instance, panoptic, object, got") as refusal:
        read_tasks(wrong)
    assert repr(wrong) in str(refusal.value)


ANSWERS = {
    Task.SEMANTIC: Takes(may=frozenset({"classes"})),
    Task.INSTANCE: Takes(),
    Task.OBJECT: Takes(needs=frozenset({"points", "boxes"}), may=frozenset({"masks"})),
}
A_POINT = Marks.read(SIZE, points=[(1, 1)])
A_BOX_AND_A_MASK = Marks.read(SIZE, boxes=[0, 0, 3, 3], masks=torch.ones(SIZE))
A_MASK = Marks.read(SIZE, masks=torch.ones(SIZE))


@pytest.mark.parametrize(
    ("tasks", "prompt"),
    [
        ((Task.SEMANTIC,), Prompt()),
        ((Task.SEMANTIC,), Prompt(vocabulary=CLASSES)),
        ((Task.SEMANTIC, Task.INSTANCE), Prompt()),
        ((Task.OBJECT,), Prompt(A_POINT)),
        ((Task.OBJECT,), Prompt(A_BOX_AND_A_MASK)),
        ((Task.SEMANTIC, Task.OBJECT), Prompt(A_POINT, vocabulary=CLASSES)),
        ((Task.OBJECT, Task.INSTANCE), Prompt(A_POINT)),
    ],
)
def test_what_is_taken_passes(tasks, prompt):
    refuse_unanswered("Any", ANSWERS, [Request(0, tasks, prompt)])


@pytest.mark.parametrize(
    ("tasks", "prompt", "message"),
    [
        ((Task.PANOPTIC,), Prompt(), "Any answers semantic, instance, object, not panoptic"),
        (
            (Task.SEMANTIC, Task.INSTANCE),
            Prompt(vocabulary=CLASSES),
            "Any does not take classes for instance; it takes nothing but the image",
        ),
        (
            (Task.SEMANTIC,),
            Prompt(A_BOX_AND_A_MASK),
            "Any does not take boxes and masks for semantic; it takes classes",
        ),
        (
            (Task.OBJECT,),
            Prompt(A_POINT, vocabulary=CLASSES),
            "Any does not take classes for object; it takes boxes, masks, points",
        ),
        (
            (Task.OBJECT, Task.INSTANCE),
            Prompt(A_POINT, vocabulary=CLASSES),
            "Any does not take classes for instance; it takes nothing but the image",
        ),
        (
            (Task.OBJECT, Task.SEMANTIC),
            Prompt(A_POINT, phrases=("a cat",)),
            "Any does not take phrases for object; it takes boxes, masks, points",
        ),
        ((Task.OBJECT,), Prompt(), "Any needs boxes or points for object"),
        ((Task.OBJECT,), Prompt(A_MASK), "Any needs boxes or points for object"),
    ],
)
def test_what_is_not_taken_is_refused_with_what_is(tasks, prompt, message):
    fine = Request(0, (Task.SEMANTIC,))
    with pytest.raises(ValueError, match=f"^{message}$"):
        refuse_unanswered("Any", ANSWERS, [fine, Request(1, tasks, prompt)])


class Named:
    """A system that says what it takes."""

    answers = ANSWERS


class Plain:
    """Keeps Detectron2's contract alone."""


class PlainWithWords:
    answered_tasks = (Task.SEMANTIC,)
    takes_vocabulary = True


@pytest.mark.parametrize(
    ("system", "tasks", "has_words"),
    [
        (Named, tuple(ANSWERS), True),
        (Plain, (Task.SEMANTIC, Task.INSTANCE, Task.PANOPTIC), False),
        (PlainWithWords, (Task.SEMANTIC,), True),
    ],
)
@pytest.mark.parametrize("made", [True, False], ids=["object", "class"])
def test_any_model_says_what_it_answers_and_takes(system, tasks, has_words, made):
    given = system() if made else system
    assert answered_tasks(given) == tasks
    assert takes_classes(given) is has_words
