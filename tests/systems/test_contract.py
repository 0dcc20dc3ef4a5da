"""The laws that every registered system keeps: what is answered, and what answers depend on."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from freeseg.data import read_vocabulary
from freeseg.inference import SlidingWindow
from freeseg.structures import (
    CERTAINTY_KEY,
    JUDGED_TASKS,
    OUTPUT_KEYS,
    PROMPT_KEY,
    EverythingSettings,
    Example,
    Frame,
    Marks,
    Prompt,
    Request,
    Task,
    Wants,
    read_output,
    takes_classes,
    write_result,
)
from freeseg.systems import SegmentationSystem, systems

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_inputs import SIZE, picture
from tiny_systems import (
    TINY,
    assert_close,
    assert_equal,
    tasks_of_systems,
    tiny,
    unprompted_tasks,
)

SYSTEMS = sorted(systems())
OPEN = [name for name in SYSTEMS if name in TINY and TINY[name].class_lists]
ANSWERS = tasks_of_systems()
JUDGED = [one for one in ANSWERS if one[1] in JUDGED_TASKS]
UNPROMPTED = sorted({name for name, _ in unprompted_tasks()})
PHOTO_SIZE = (57, 83)  # no multiple of what models see


def prompts(name: str, *tasks: Task, size: tuple[int, int] = PHOTO_SIZE) -> list[Prompt]:
    """None where a photo is enough, and every kind that the system may be asked for."""
    return tiny(name).prompts(size, *tasks)


def encoded(model: SegmentationSystem, *pictures: dict):
    """Features of pictures of one size, on the grid of a photo of another one."""
    images = [one["image"] for one in pictures]
    frames = [Frame.of_whole(PHOTO_SIZE, tuple(image.shape[-2:])) for image in images]
    return model.encode(model.prepare(images, frames))


@pytest.fixture
def encodings(model_of, monkeypatch):
    """Counts the encodings of a system's model."""

    def count(name: str) -> list[int]:
        model, sizes = model_of(name), []
        encode = model.encode

        def counted(prepared):
            sizes.append(len(prepared.frames))
            return encode(prepared)

        monkeypatch.setattr(model, "encode", counted)
        return sizes

    return count


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_registered_system_is_held_to_the_laws(name):
    assert issubclass(systems()[name], SegmentationSystem)
    assert type(tiny(name).build(0)).__mro__.count(systems()[name]) == 1
    assert systems()[name].answers


def test_no_line_is_left_of_a_system_that_went():
    assert set(TINY) == set(SYSTEMS)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_neighbours_of_any_size_change_nothing(model_of, name, task):
    model = model_of(name)
    inputs = [
        {**picture(*size, seed), "tasks": (task,), PROMPT_KEY: some[seed % len(some)]}
        for seed, (size, some) in enumerate(
            (size, prompts(name, task, size=size))
            for size in [SIZE, (64, 96), (40, 64), (96, 32), SIZE]
        )
    ]
    for alone, together in zip(inputs, model(inputs)):
        assert_close(read_output(model([alone])[0]), read_output(together))


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
@pytest.mark.parametrize("wants_labels", [False, True], ids=["scores", "labels"])
def test_requests_do_not_feel_each_other(model_of, name, task, wants_labels):
    model = model_of(name)
    features = encoded(model, picture(), picture(seed=1))
    requests = [
        Request(index, (task,), prompt, wants=Wants(wants_labels))
        for prompt in prompts(name, task)
        for index in (1, 0)
    ]
    for request, together in zip(requests, model.answer(features, requests), strict=True):
        (alone,) = model.answer(features, [request])
        assert_close(alone, together)


@torch.inference_mode()
@pytest.mark.parametrize("name", SYSTEMS)
def test_tasks_of_one_request_equal_each_alone(model_of, name):
    model = model_of(name)
    features = encoded(model, picture())
    tasks = tuple(model.answers)
    (together,) = model.answer(features, [Request(0, tasks, prompts(name, *tasks)[0])])
    assert {OUTPUT_KEYS[task] for task in tasks} == set(write_result(together))
    for task in tasks:
        (alone,) = model.answer(features, [Request(0, (task,), prompts(name, task)[0])])
        key = {OUTPUT_KEYS[task]: write_result(together)[OUTPUT_KEYS[task]]}
        assert_close(replace(alone, vocabulary=None), read_output(key))


@torch.inference_mode()
@pytest.mark.parametrize("name", SYSTEMS)
def test_no_request_has_no_result(model_of, name):
    model = model_of(name)
    assert model.answer(encoded(model, picture()), []) == []
    assert model([]) == []


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_permuted_images_give_permuted_results(model_of, name, task):
    model = model_of(name)
    inputs = [tiny(name).asked({**picture(seed=seed), "tasks": (task,)}, seed) for seed in range(3)]
    forward, backward = model(inputs), model(inputs[::-1])
    for first, second in zip(forward, backward[::-1]):
        assert_close(read_output(first), read_output(second))


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), [one for one in JUDGED if one[0] in OPEN])
def test_permuted_classes_give_permuted_results(model_of, name, task):
    model = model_of(name)
    features = encoded(model, picture())
    vocabulary = read_vocabulary("tree: thing, road: thing, cat: stuff, sea: thing")
    order = [2, 0, 3, 1]
    place = torch.tensor(order).argsort()
    first, second = model.answer(
        features,
        [
            Request(0, (task,), Prompt(vocabulary=one))
            for one in (vocabulary, vocabulary.select(order))
        ],
    )
    if task == Task.SEMANTIC:
        permuted = first.semantic.scores[order]
        torch.testing.assert_close(permuted, second.semantic.scores, atol=1e-4, rtol=1e-3)
    elif task == Task.PANOPTIC:
        found = [place[one.category_id].item() for one in first.panoptic.segments]
        assert found
        assert sorted(found) == sorted(one.category_id for one in second.panoptic.segments)
    else:
        assert first.instances.boxes.any()
        torch.testing.assert_close(
            first.instances.scores, second.instances.scores, atol=1e-4, rtol=1e-3
        )
        assert place[first.instances.labels].tolist() == second.instances.labels.tolist()


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_padding_up_to_the_divisor_changes_nothing(model_of, name, task):
    """Pixels of the mean colour, added by hand, are the padding that the model adds itself."""
    model = model_of(name)
    image = picture(40, 56)["image"]
    height, width = model.photo_input.padded_size((40, 56))
    assert ((height, width) == (40, 56)) == (model.size_divisibility < 2)
    padded = model.pixel_mean.expand(3, height, width).clone()
    padded[:, :40, :56] = image
    frame = Frame.of_whole(PHOTO_SIZE, (40, 56))
    request = Request(0, (task,), prompts(name, task)[0])
    results = [
        model.answer(model.encode(model.prepare([given], [frame])), [request])[0]
        for given in (image, padded)
    ]
    assert_equal(*results)


@torch.inference_mode()
@pytest.mark.parametrize("name", UNPROMPTED)
def test_a_window_that_covers_all_changes_nothing(model_of, name):
    model = model_of(name)
    wanted = {**picture(), "label_map": True}
    tasks = tuple(model.answers)
    window = SlidingWindow(model, window=(64, 64), stride=(32, 32), tasks=tasks)
    whole, in_windows = model([{**wanted, "tasks": tasks}])[0], window([wanted])[0]
    assert_close(read_output(whole), read_output(in_windows))


ODD_PROMPTS = {
    "points": Prompt(marks=Marks.read(SIZE, points=[(5, 5)])),
    "boxes": Prompt(marks=Marks.read(SIZE, boxes=[1, 1, 9, 9])),
    "masks": Prompt(marks=Marks.read(SIZE, masks=torch.ones(SIZE))),
    "strokes": Prompt(marks=Marks.read(SIZE, strokes=torch.ones(SIZE))),
    "phrases": Prompt(phrases=("the cat on the left",)),
    "examples": Prompt(examples=(Example(picture()["image"], torch.ones(1, *SIZE).bool()),)),
    "everything": Prompt(everything=EverythingSettings(points_per_side=2)),
    "classes": Prompt(vocabulary=read_vocabulary("cat, dog")),
}


@pytest.mark.parametrize(("name", "task"), ANSWERS)
@pytest.mark.parametrize("kind", ODD_PROMPTS)
def test_prompts_that_are_not_taken_are_refused_before_encoding(
    model_of, encodings, name, task, kind
):
    model, counted = model_of(name), encodings(name)
    takes = model.answers[task].kinds
    shown = tiny(name).asked(picture())
    inputs = [shown, {**picture(), "tasks": (task,), PROMPT_KEY: ODD_PROMPTS[kind]}]
    with torch.inference_mode():
        if kind in takes:
            assert len(model(inputs)) == 2
            assert sum(counted) == 2
            return
        known = ", ".join(sorted(takes)) or "nothing but the image"
        with pytest.raises(ValueError, match=f"does not take {kind} for {task}; it takes {known}"):
            model(inputs)
    assert counted == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_tasks_that_are_not_answered_are_refused_before_encoding(model_of, encodings, name):
    model, counted = model_of(name), encodings(name)
    others = [task for task in Task if task not in model.answers]
    assert others
    shown = tiny(name).asked(picture())
    known = f"{type(model).__name__} answers {', '.join(model.answers)}, not "
    for task in others:
        with pytest.raises(ValueError, match=known + task):
            model([shown, {**shown, "tasks": (next(iter(model.answers)), task)}])
    for wrong in (("depth",), (), "semantic"):
        with pytest.raises(ValueError, match="selection of the tasks semantic, instance, panoptic"):
            model([shown, {**shown, "tasks": wrong}])
    assert counted == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_malformed_prompts_are_refused_before_encoding(model_of, encodings, name):
    model, counted = model_of(name), encodings(name)
    empty = read_vocabulary("cat").select([])
    if takes_classes(model):  # a closed set is given its data set's list, and has its own
        with pytest.raises(ValueError, match="vocabulary is empty"):
            model([picture(), {**picture(), "vocabulary": empty}])
    with pytest.raises(ValueError, match="an input's prompt is a Prompt, got dict"):
        model([picture(), {**picture(), PROMPT_KEY: {"points": [(1, 2)]}}])
    elsewhere = Prompt(marks=Marks.read(PHOTO_SIZE, points=[(80, 50)]))
    with pytest.raises(ValueError, match="marks lie in a photo of"):
        model([picture(), {**picture(), PROMPT_KEY: elsewhere}])
    assert counted == []


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
@pytest.mark.parametrize("wants_labels", [False, True], ids=["scores", "labels"])
def test_results_lie_on_the_photos_grid(model_of, name, task, wants_labels):
    model = model_of(name)
    features = encoded(model, picture())
    requests = [
        Request(0, (task,), prompt, wants=Wants(wants_labels, certainty=True))
        for prompt in prompts(name, task)
    ]
    for request, result in zip(requests, model.answer(features, requests)):
        vocabulary = request.vocabulary(model.vocabulary)
        if request.prompt.examples:
            vocabulary = request.prompt.examples[0].vocabulary
        assert result.vocabulary == vocabulary
        assert 0 <= result.certainty <= 1
        assert set(write_result(result)) == {OUTPUT_KEYS[task], CERTAINTY_KEY}
        LAWS_OF_RESULTS[task](result, vocabulary, wants_labels)


def semantic_laws(result, vocabulary, wants_labels):
    wanted = PHOTO_SIZE if wants_labels else (len(vocabulary), *PHOTO_SIZE)
    assert result.semantic.values.shape == wanted
    assert (result.semantic.scores is None) == wants_labels
    labels = result.semantic.best()
    assert labels.dtype == torch.int64
    assert 0 <= labels.min() <= labels.max() < len(vocabulary)


def panoptic_laws(result, vocabulary, _):
    ids, segments = result.panoptic.segment_ids, result.panoptic.segments
    assert (ids.shape, ids.dtype) == (PHOTO_SIZE, torch.int32)
    areas = {one.id: one.area for one in segments}
    assert len(areas) == len(segments)
    counted = dict(zip(*(each.tolist() for each in ids.unique(return_counts=True))))
    counted.pop(0, None)
    assert areas == counted
    assert [one.isthing for one in segments] == [
        vocabulary.is_thing[one.category_id] for one in segments
    ]


def places_lie_in_the_photo(found):
    """Boxes are tight around masks; where there are boxes alone they lie in the photo."""
    assert found.image_size == PHOTO_SIZE
    if found.masks is None:
        height, width = PHOTO_SIZE
        assert ((found.boxes >= 0) & (found.boxes <= torch.tensor([width, height] * 2))).all()
        assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
        return
    assert found.masks.shape == (len(found), *PHOTO_SIZE)
    assert found.masks.dtype == torch.bool
    for mask, box in zip(found.masks, found.boxes.tolist()):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0] * 4
        assert box == [float(edge) for edge in tight]


def instance_laws(result, vocabulary, _):
    found = result.instances
    places_lie_in_the_photo(found)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert all(vocabulary.is_thing[label] for label in found.labels.tolist())


def object_laws(result, *_):
    found = result.objects
    places_lie_in_the_photo(found)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    owners = found.owners[found.choices == 0].tolist()
    assert owners == sorted(set(found.owners.tolist()))


LAWS_OF_RESULTS = {
    Task.SEMANTIC: semantic_laws,
    Task.PANOPTIC: panoptic_laws,
    Task.INSTANCE: instance_laws,
    Task.OBJECT: object_laws,
}


@torch.inference_mode()
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_laws_of_results_are_not_kept_by_emptiness(model_of, name):
    model = model_of(name)
    request = Request(0, tuple(model.answers), prompts(name, *model.answers)[0])
    (result,) = model.answer(encoded(model, picture()), [request])
    assert result.computed()
    assert result.semantic is None or result.semantic.best().unique().numel() > 1
    assert result.panoptic is None or result.panoptic.segments
    for found in (result.instances, result.objects):
        if found is not None and found.masks is None:
            assert len(found.boxes.unique(dim=0)) > 1
        elif found is not None:
            assert found.masks.any()
            assert not found.masks.all()
