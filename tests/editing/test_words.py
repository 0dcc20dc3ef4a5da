"""What words name in a photo: which classes a model is asked for, and which masks come of it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from freeseg import Segmenter, Vocabulary
from freeseg.editing import find, read_question
from freeseg.structures import Task

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fixed_model import write_config, write_weights
from tiny_systems import tiny_grounded_sam, tiny_grounding_dino, tiny_sam

GREEN, RED, BLUE = 0, 1, 2  # classes of the fixed model


def photo() -> np.ndarray:
    """Red, green, blue from left to right."""
    pixels = np.full((20, 30, 3), 10, np.uint8)
    for channel in range(3):
        pixels[:, 10 * channel : 10 * channel + 10, channel] = 200
    return pixels


def part(channel: int) -> np.ndarray:
    mask = np.zeros((20, 30), bool)
    mask[:, 10 * channel : 10 * channel + 10] = True
    return mask


def fixed(tmp_path: Path, kind: str = "StrongestChannel") -> Segmenter:
    model = f"{{META_ARCHITECTURE: {kind}, SEM_SEG_HEAD: {{NUM_CLASSES: 3}}}}"
    config = write_config(tmp_path, MODEL=model, INPUT="{FORMAT: RGB, MIN_SIZE_TEST: 20}")
    return Segmenter.from_config(config, write_weights(tmp_path))


@pytest.fixture
def closed(tmp_path) -> Segmenter:
    return fixed(tmp_path)


@pytest.fixture
def open_model(tmp_path) -> Segmenter:
    return fixed(tmp_path, "EchoedVocabulary")


def only(segmenter: Segmenter, *tasks: Task, monkeypatch) -> Segmenter:
    """The model as one that has these tasks alone."""
    monkeypatch.setattr(type(segmenter), "tasks", property(lambda _: tasks))
    return segmenter


def test_a_thing_is_its_instances_from_a_score_on(closed) -> None:
    found = find(closed, photo(), "red ball")
    assert (found.names, found.scores.tolist()) == (("red ball",), [0.875])
    np.testing.assert_array_equal(found.masks, [part(0)])
    np.testing.assert_array_equal(found.image, photo())
    both = find(closed, photo(), "red ball", min_score=0.25)
    np.testing.assert_array_equal(both.masks, [part(0), part(2)])
    assert both.scores.tolist() == [0.875, 0.25]
    best = find(closed, photo(), "red ball", min_score=0.0, best=True)
    np.testing.assert_array_equal(best.masks, [part(0)])
    assert len(find(closed, photo(), "red ball", min_score=0.9)) == 0


def test_stuff_is_its_region(closed) -> None:
    found = find(closed, photo(), "Green-Field, blue sky")
    assert found.names == ("green field", "blue sky")
    np.testing.assert_array_equal(found.masks, [part(1), part(2)])
    assert found.scores.tolist() == [0.5, 0.5]
    assert found.others == ("red ball",)
    assert len(find(closed, photo(), "blue sky", min_score=0.6)) == 0


def test_things_and_stuff_are_found_together(closed) -> None:
    found = find(closed, photo(), "blue sky, red ball")
    assert sorted(found.names) == ["blue sky", "red ball"]
    assert found.others == ("green field",)


def test_a_model_of_maps_alone_gives_a_mask_for_all_of_a_class(closed, monkeypatch) -> None:
    found = find(
        only(closed, Task.SEMANTIC, monkeypatch=monkeypatch), photo(), "red ball, blue sky"
    )
    np.testing.assert_array_equal(found.masks, [part(0), part(2)])
    assert np.isnan(found.scores).all()
    assert found.others == ("green field",)


def test_a_closed_model_says_what_it_knows(closed) -> None:
    message = "3 classes only, and not dog: green field, red ball, blue sky"
    with pytest.raises(ValueError, match=message):
        find(closed, photo(), "red ball, dog")
    with pytest.raises(ValueError, match="knows its 3 classes only"):
        read_question(closed, "red ball", among="dog")


def test_words_compete_with_the_model_s_own_classes(open_model) -> None:
    question = read_question(open_model, "dog|hound, Blue_Sky: stuff")
    assert question.classes == Vocabulary(
        ("dog", "Blue_Sky", "green field", "red ball"),
        (True, False, False, True),
        synonyms=(("dog", "hound"), ("Blue_Sky",), ("green field",), ("red ball",)),
    )
    assert question.labels == (0, 1)
    assert question.tasks == ((Task.INSTANCE, {0}), (Task.PANOPTIC, {1}))


def test_words_compete_with_what_is_named_beside_them(open_model) -> None:
    question = read_question(open_model, "dog", among="cat, dog, other: stuff")
    assert question.classes.names == ("dog", "cat", "other")
    assert question.classes.other == 2
    assert question.labels == (0,)


def test_the_model_is_asked_for_all_and_the_words_are_found(open_model, caplog) -> None:
    """It answers by place: its first class is what is green, its second what is red."""
    found = find(open_model, photo(), "grass: stuff")
    assert open_model.model.asked_for.names == ("grass", "green field", "red ball", "blue sky")
    np.testing.assert_array_equal(found.masks, [part(1)])
    assert found.names == ("grass",)
    assert found.others == ("green field", "red ball")
    assert "all that is found" not in caplog.text


def test_grounded_sam_fills_the_boxes_of_the_words() -> None:
    """Its grounder was trained without class lists, so that it is asked for the words alone."""
    model = tiny_grounded_sam(min_score=0.0)
    model.vocabulary = None
    segmenter = Segmenter(model)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    question = read_question(segmenter, "sky, dog")  # nothing is stuff to it
    assert question.classes == Vocabulary(("sky", "dog"), (True, True))
    whole = segmenter(pixels, text="sky: thing, dog")
    scores = np.sort(whole.scores)
    least = float(scores[len(scores) // 2])
    found = find(segmenter, pixels, question, min_score=least)
    kept = (whole.scores >= least) & whole.masks.any((1, 2))
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(found.masks, whole.masks[kept])
    np.testing.assert_array_equal(found.scores, whole.scores[kept])


def test_boxes_without_masks_are_refused_with_what_fills_them() -> None:
    segmenter = Segmenter(tiny_grounding_dino())
    with pytest.raises(ValueError, match=r"boxes without masks: .*--model A\+sam-vit-b"):
        read_question(segmenter, "dog")


def test_a_model_without_classes_takes_no_words() -> None:
    with pytest.raises(ValueError, match="knows no classes"):
        read_question(Segmenter(tiny_sam()), "dog")
