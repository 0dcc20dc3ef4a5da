"""The laws that every registered system keeps: one encoding of a photo, answers without traces."""

from __future__ import annotations

import itertools
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from freeseg.data import read_vocabulary
from freeseg.engine.dataset_tuning import DatasetTuning
from freeseg.segmenter import Segmenter
from freeseg.session import SessionStore
from freeseg.structures import Frame, Prompt, Request, Task, Wants, read_output
from freeseg.systems import systems
from freeseg.systems.freeseg.tuning import PromptTuner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_inputs import picture
from tiny_systems import assert_equal, tasks_of_systems, tiny, tiny_freeseg

SYSTEMS = sorted(systems())
ANSWERS = tasks_of_systems()


def photo(seed: int = 0, size: tuple[int, int] = (57, 83)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def questions(name: str, size: tuple[int, int] = (57, 83)) -> list[dict]:
    """Six: class lists of open systems, tasks and marks of the others."""
    tasks = list(systems()[name].answers)
    lists = list(tiny(name).class_lists) or [None]
    marks = tiny(name).questions(size)
    phrases = tiny(name).phrases
    asked = [
        {"task": tasks[n % len(tasks)], "text": lists[n % len(lists)], **marks[n % len(marks)]}
        for n in range(6)
    ]
    for n, question in enumerate(asked):
        if phrases and question["task"] == Task.OBJECT:
            question.update(text=None, phrases=phrases[n % len(phrases)])
    return asked


def alone(segmenter: Segmenter, image: np.ndarray, question: dict):
    """The answer to a question that is the only one, by a call where a call can ask it."""
    if set(question) == {"task", "text"}:
        return segmenter(image, **question)
    return segmenter.open(image)(**question)


def assert_same_arrays(first, second) -> None:
    assert (first.vocabulary, first.tasks) == (second.vocabulary, second.tasks)
    for task in first.tasks:
        one, other = getattr(first, FIELDS[task]), getattr(second, FIELDS[task])
        if task == "semantic":
            np.testing.assert_array_equal(one, other)
        elif task == "panoptic":
            (ids, segments), (other_ids, other_segments) = one, other
            np.testing.assert_array_equal(ids, other_ids)
            assert segments == other_segments
        else:
            for name in ("masks", "boxes", "scores", "labels", "qualities", "owners", "choices"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


FIELDS = {
    "semantic": "semantic",
    "panoptic": "panoptic",
    "instance": "instances",
    "object": "objects",
}


@pytest.fixture
def segmenter_of(model_of):
    return lambda name: Segmenter(model_of(name))


@pytest.fixture
def encodings(model_of, monkeypatch):
    """Counts the encodings of a system's model, and lets several threads meet there."""

    def count(name: str) -> list[int]:
        model, sizes = model_of(name), []
        encode = model.encode

        def counted(prepared):
            sizes.append(len(prepared.frames))
            threading.Event().wait(0.05)  # others arrive
            return encode(prepared)

        monkeypatch.setattr(model, "encode", counted)
        return sizes

    return count


@pytest.mark.parametrize("name", SYSTEMS)
def test_six_questions_on_a_photo_cost_one_encoding(segmenter_of, encodings, name):
    segmenter, counted = segmenter_of(name), encodings(name)
    with segmenter.open(photo()) as session:
        assert counted == []  # lazily
        found = [session(**question) for question in questions(name)]
    assert counted == [1]
    apart = [alone(segmenter, photo(), question) for question in questions(name)]
    assert counted == [1] * 7
    for one, other in zip(found, apart):
        assert_same_arrays(one, other)


@pytest.mark.parametrize("name", SYSTEMS)
def test_threads_on_one_session_encode_once_and_get_what_they_get_alone(
    segmenter_of, encodings, name
):
    segmenter, counted = segmenter_of(name), encodings(name)
    apart = [alone(segmenter, photo(), question) for question in questions(name)]
    counted.clear()
    session = segmenter.open(photo())
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda question: session(**question), questions(name)))
    assert counted == [1]
    for one, other in zip(apart, together):
        assert_same_arrays(one, other)


@pytest.mark.parametrize("name", SYSTEMS)
def test_threads_on_one_model_get_what_they_get_alone(segmenter_of, name):
    segmenter = segmenter_of(name)
    asked = [(photo(seed), question) for seed, question in enumerate(questions(name))]
    apart = [alone(segmenter, *one) for one in asked]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda one: alone(segmenter, *one), asked))
    for one, other in zip(apart, together):
        assert_same_arrays(one, other)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
@pytest.mark.parametrize("wants_labels", [False, True], ids=["scores", "labels"])
def test_detectron2s_dicts_and_features_give_the_same_bits(model_of, name, task, wants_labels):
    model, image = model_of(name), picture()["image"]
    for prompt in tiny(name).prompts((57, 83), task):
        asked = {"image": image, "height": 57, "width": 83, "tasks": (task,)}
        is_list = not prompt.kinds - {"classes"}
        said = {"vocabulary": prompt.vocabulary} if is_list else {"prompt": prompt}
        (output,) = model([{**asked, **said, "label_map": wants_labels}])
        features = model.encode(model.prepare([image], [Frame.of_whole((57, 83), (48, 64))]))
        request = Request(0, (task,), prompt, wants=Wants(wants_labels))
        (result,) = model.answer(features, [request])
        assert_equal(read_output(output), result)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "task"), ANSWERS)
def test_answers_repeat_and_draw_no_global_random_number(model_of, name, task):
    model = model_of(name)
    request = Request(
        0, (task,), tiny(name).prompts((48, 64), task)[0], wants=Wants(certainty=True)
    )
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    features = model.encode(model.prepare([picture()["image"]]))
    first = model.answer(features, [request])[0]
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    again = model.encode(model.prepare([picture()["image"]]))
    assert_equal(first, model.answer(again, [request])[0])


def _tuned(_: int):
    return tiny_freeseg(
        11,
        TEST__PROMPT_TUNING__ENABLED=True,
        TEST__PROMPT_TUNING__PER_DATASET=True,
        TEST__PROMPT_TUNING__LR=0.3,
    )


CACHE = "features of texts, under keys that say all that they depend on"
ARGUMENTS = "names of its arguments, which Detectron2 looks up at a resize's first call"
STRUCTURE = "a cached property: a part of these keys"
# What an answer leaves behind, and why it may: by the system, attributes of modules.
LEAVES = {
    "freeseg": {"clip_adapter.cache": CACHE, "clip_adapter.clip_model._structure": STRUCTURE},
    "grounded_sam": {
        "grounder.text_side._kept": CACHE,
        "grounder.text_side.encoder._structure": STRUCTURE,
        **dict.fromkeys(("grounder.photo_input", "segmenter.photo_input"), ARGUMENTS),
    },
    "grounding_dino": {"text_side._kept": CACHE, "text_side.encoder._structure": STRUCTURE},
    "lseg": {"text_adapter.cache": CACHE, "text_adapter.clip_model._structure": STRUCTURE},
    "freeseg, tuned over a data set": {
        "clip_adapter.cache": CACHE,
        "clip_adapter.clip_model._structure": STRUCTURE,
    },
}
BUILDS = {**dict.fromkeys(SYSTEMS), "freeseg, tuned over a data set": _tuned}


def attributes(model: nn.Module) -> dict[str, object]:
    """What every submodule holds beside its weights and children, in comparable form."""
    return {
        f"{path}.{name}".lstrip("."): comparable(value)
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if name not in ("_parameters", "_buffers", "_modules")
    }


def comparable(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {repr(key): comparable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [comparable(each) for each in value]
    if type(value).__module__.startswith("freeseg") and hasattr(value, "__dict__"):
        return comparable(vars(value))
    return id(value) if not isinstance(value, (int, float, str)) else value


@torch.inference_mode()
@pytest.mark.parametrize("name", BUILDS)
def test_an_answer_leaves_nothing_on_the_module_but_what_is_known(name):
    model = tiny(name).build(0) if BUILDS[name] is None else BUILDS[name](0)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    before = attributes(model)
    features = model.encode(model.prepare([picture()["image"]]))
    prompt = tiny(name.split(",")[0]).prompts((48, 64))[0]
    if "classes" in _kinds(model):
        prompt = Prompt(vocabulary=read_vocabulary("tree, cat"))
    model.answer(features, [Request(0, tuple(model.answers), prompt, wants=Wants(certainty=True))])
    after = attributes(model)
    assert {key for key in {*before, *after} if before.get(key) != after.get(key)} == set(
        LEAVES.get(name, ())
    )
    left = model.state_dict()
    assert set(left) == set(weights)
    assert all(torch.equal(value, left[key]) for key, value in weights.items())


def _kinds(model) -> set[str]:
    return {kind for takes in model.answers.values() for kind in takes.kinds}


def test_what_tuning_keeps_is_kept_beside_the_model_and_forgotten_at_the_end_of_a_data_set():
    model, asked = _tuned(0), [{**picture(), "tasks": ("semantic",)}]
    tuned = DatasetTuning(model, PromptTuner(model.tuner.settings, per_dataset=True)).eval()
    with torch.inference_mode():
        first, second, alone = (each(asked)[0]["sem_seg"] for each in (tuned, tuned, model))
    assert not torch.equal(first, second)
    assert torch.equal(first, alone)
    tuned.train().eval()
    with torch.inference_mode():
        again = tuned(asked)[0]["sem_seg"]
    assert torch.equal(first, again)


class TestStore:
    @pytest.fixture
    def sessions(self, segmenter_of):
        segmenter = segmenter_of("lseg")
        opened = [segmenter.open(photo(seed)) for seed in range(4)]
        for session in opened:
            session.encode()
        return opened

    def test_the_least_recent_sessions_go_until_the_bytes_fit(self, sessions):
        each = sessions[0].nbytes
        assert {session.nbytes for session in sessions} == {each}
        store = SessionStore(3 * each)
        for key, session in enumerate(sessions):
            store.get(key, lambda session=session: session)
        assert (len(store), store.nbytes) == (4, 4 * each)
        assert store.get(0, pytest.fail) is sessions[0]  # now 1 is the least recent
        store.trim()
        assert (len(store), store.nbytes) == (3, 3 * each)
        assert store.get(0, pytest.fail) is sessions[0]
        made = []
        store.get(1, lambda: made.append(1) or sessions[1])
        assert made == [1]

    def test_bytes_are_those_of_the_photo_and_the_features(self, segmenter_of):
        session = segmenter_of("lseg").open(photo())
        pixels = 57 * 83 * 3 + session.photo.pixels.numel()
        assert session.nbytes == pixels
        features = session.encode()
        tensors = [*features.levels, features.mask_features]
        assert session.nbytes == pixels + sum(
            tensor.numel() * tensor.element_size() for tensor in tensors
        )
        session.close()
        assert session.nbytes == pixels

    def test_a_session_larger_than_the_budget_goes_and_takes_no_other_along(self, sessions):
        small, large = sessions[0], sessions[1]
        small.close()
        store = SessionStore(large.nbytes - 1)
        store.get("small", lambda: small)
        store.get("large", lambda: large)
        store.trim()
        assert len(store) == 1
        assert store.get("small", pytest.fail) is small

    def test_nothing_to_let_go_is_no_error(self, sessions):
        SessionStore(0).trim()
        store = SessionStore(0)
        store.get("only", lambda: sessions[0])
        store.trim()
        assert (len(store), store.nbytes) == (0, 0)

    def test_sessions_that_are_closed_meanwhile_do_not_confuse_the_sum(self, sessions, monkeypatch):
        """Sizes change while others answer; a size counts as it was first read."""
        store = SessionStore(sessions[0].nbytes)
        for key, session in enumerate(sessions[:2]):
            store.get(key, lambda session=session: session)
        sizes = itertools.chain([store.budget, 2 * store.budget], itertools.repeat(0))
        monkeypatch.setattr(type(sessions[0]), "nbytes", property(lambda _: next(sizes)))
        store.trim()
        assert len(store) == 1

    def test_a_photo_that_cannot_be_read_leaves_no_session(self):
        store = SessionStore(1 << 20)
        with pytest.raises(OSError, match="gone"):
            store.get("key", lambda: (_ for _ in ()).throw(OSError("gone")))
        assert len(store) == 0
