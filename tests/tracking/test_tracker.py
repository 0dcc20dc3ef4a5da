"""The tracker on frames whose objects are flat colours, so that anybody can find them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from freeseg.inference.objects import objects_of_masks
from freeseg.structures import Example, LearnedExample, Vocabulary
from freeseg.structures.clip_frame import ClipFrame
from freeseg.tracking import Tracker, by_frame, track_clip

HEIGHT, WIDTH = 24, 36
COLOURS = {1: (250, 0, 0), 2: (0, 250, 0), 3: (0, 0, 250)}
EVERYWHERE = dict.fromkeys(COLOURS, 1.0)


def labels_of(*places: tuple[int, int, int]) -> np.ndarray:
    """A map with squares of 6 pixels: (number, top, left)."""
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    for number, top, left in places:
        labels[top : top + 6, left : left + 6] = number
    return labels


def photo_of(labels: np.ndarray) -> np.ndarray:
    image = np.full((*labels.shape, 3), 90, np.uint8)
    for number, colour in COLOURS.items():
        image[labels == number] = colour
    return image


class ColourView:
    """A frame in which an object is where its colour in the examples is; notes what it is shown."""

    def __init__(self, labels, scores=EVERYWHERE, shown=None, is_blind=False):
        self.image = photo_of(labels)
        self.pixels = torch.from_numpy(self.image[1::2, 1::2].transpose(2, 0, 1).copy())
        self.scores, self.shown, self.is_blind = scores, shown, is_blind

    def find(self, examples):
        if self.shown is not None:
            self.shown.append(list(examples))
        colours: dict[int, set] = {}
        for example in examples:
            for number, mask in zip(example.ids.tolist(), example.masks):
                seen = example.image[:, mask].T.unique(dim=0)
                colours.setdefault(number, set()).update(map(tuple, seen.tolist()))
        pixels = torch.from_numpy(self.image)
        masks = [
            sum(((pixels == torch.tensor(one)).all(-1) for one in some), torch.zeros(1).bool())
            for some in colours.values()
        ]
        found = torch.stack([mask.expand(HEIGHT, WIDTH) for mask in masks])
        scores = torch.tensor([self.scores.get(number, 0.0) for number in colours])
        return objects_of_masks(found & (not self.is_blind), scores)


def moving(count: int, *starts: tuple[int, int, int]) -> list[np.ndarray]:
    """Maps of squares that go to the right, a pixel a frame and round again."""
    return [
        labels_of(*((n, top, (left + step) % (WIDTH - 6)) for n, top, left in starts))
        for step in range(count)
    ]


def test_objects_keep_their_numbers_through_a_clip():
    clip = moving(8, (1, 2, 0), (2, 14, 3))
    tracker = Tracker()
    for number, labels in enumerate(clip):
        found = tracker.step(ColourView(labels), labels if number == 0 else None)
        np.testing.assert_array_equal(found.labels.numpy(), labels)
        assert found.labels.dtype == torch.int32
        assert dict(found.names) == {1: "object 1", 2: "object 2"}
        assert set(found.scores) == {1, 2}
    objects = found.result.objects
    assert objects.masks.shape == (2, HEIGHT, WIDTH)
    assert found.result.vocabulary.names == ("object 1", "object 2")


@pytest.mark.parametrize("memory", [0, 1, 3])
def test_no_more_than_the_given_frame_and_the_last_few_is_held(memory):
    shown: list = []
    tracker = Tracker(memory=memory)
    for number, labels in enumerate(moving(200, (1, 2, 0))):
        tracker.step(ColourView(labels, shown=shown), labels if number == 0 else None)
    counts = [len(examples) for examples in shown]
    assert counts == [min(1 + step, 1 + memory) for step in range(199)]
    first = {id(examples[0]) for examples in shown}
    assert len(first) == 1  # what was given stays
    assert all(example.image.shape == (3, 12, 18) for example in shown[-1])  # small
    if memory > 1:
        assert shown[-1][1] is shown[-2][2]  # oldest first


def test_frames_that_are_unsure_or_empty_are_not_remembered():
    shown: list = []
    clip = moving(6, (1, 2, 0))
    tracker = Tracker(min_score=0.5)
    tracker.step(ColourView(clip[0], shown=shown), clip[0])
    tracker.step(ColourView(clip[1], {1: 0.49}, shown))
    tracker.step(ColourView(clip[2], {1: 0.5}, shown))
    tracker.step(ColourView(clip[3], shown=shown, is_blind=True))
    tracker.step(ColourView(clip[4], shown=shown))
    assert [len(examples) for examples in shown] == [1, 1, 2, 2]


def test_objects_that_begin_later_are_followed_from_there_on():
    clip = moving(6, (1, 2, 0), (2, 14, 3))
    shown: list = []
    tracker = Tracker(memory=0)
    for number, labels in enumerate(clip):
        given = {0: clip[0] * (clip[0] == 1), 3: clip[3] * (clip[3] == 2)}.get(number)
        found = tracker.step(ColourView(labels, shown=shown), given)
        wanted = labels if number >= 3 else labels * (labels == 1)
        np.testing.assert_array_equal(found.labels.numpy(), wanted)
    assert tuple(found.names) == (1, 2)
    later = shown[-1][1]  # the frame on which the second begins shows the first as it was found
    assert later.ids.tolist() == [1, 2]
    assert later.masks.flatten(1).any(1).all()


def test_a_correction_replaces_what_was_found():
    clip = moving(3, (1, 2, 0))
    wrong = labels_of((1, 10, 10))
    tracker = Tracker()
    tracker.step(ColourView(clip[0]), clip[0])
    found = tracker.step(ColourView(clip[1]), wrong)
    np.testing.assert_array_equal(found.labels.numpy(), wrong)
    assert found.scores[1] == 1.0
    assert tuple(found.names) == (1,)


def test_names_are_objects_and_masks_without_numbers_begin_new_ones():
    labels = labels_of((1, 2, 0), (2, 14, 3), (3, 2, 20))
    view = ColourView(labels)
    tracker = Tracker()
    tracker.step(view, {"cup": labels == 1, "pen": labels == 2})
    found = tracker.step(view, {"pen": labels == 2})
    assert dict(found.names) == {1: "cup", 2: "pen"}
    found = tracker.step(view, [labels == 3])
    assert dict(found.names) == {1: "cup", 2: "pen", 3: "object 3"}
    np.testing.assert_array_equal(found.labels.numpy(), labels)
    found = tracker.step(view, {"ball": labels == 3})
    assert dict(found.names)[4] == "ball"


def test_a_map_of_one_number_means_that_object(tmp_path):
    labels = labels_of((1, 2, 0), (2, 14, 3))
    second = tmp_path / "second.png"
    Image.fromarray((labels * (labels == 2)).astype(np.uint8)).save(second)
    tracker = Tracker()
    tracker.step(ColourView(labels), labels * (labels == 1))
    found = tracker.step(ColourView(labels), second)
    assert tuple(found.names) == (1, 2)
    np.testing.assert_array_equal(found.labels.numpy(), labels)


@pytest.mark.parametrize("kind", ["array", "file", "picture", "bool"])
def test_masks_in_black_and_white_begin_new_objects(tmp_path, kind):
    labels = labels_of((1, 2, 0), (2, 14, 3))
    white = (labels == 2) * np.uint8(255)
    given = {"array": white, "picture": Image.fromarray(white), "bool": labels == 2}.get(kind)
    if given is None:
        given = tmp_path / "white.png"
        Image.fromarray(white).save(given)
    tracker = Tracker()
    tracker.step(ColourView(labels), labels == 1)
    found = tracker.step(ColourView(labels), given)
    assert tuple(found.names) == (1, 2)
    np.testing.assert_array_equal(found.labels.numpy(), labels)


def test_a_map_without_objects_begins_none():
    labels = labels_of((1, 2, 0))
    tracker = Tracker()
    found = tracker.step(ColourView(labels), labels * 0)
    assert not found.labels.any()
    assert len(found.result.objects.masks) == 0
    with pytest.raises(ValueError, match="no object has begun"):
        tracker.step(ColourView(labels))
    np.testing.assert_array_equal(tracker.step(ColourView(labels), labels).labels, labels)


def test_of_masks_that_overlap_the_smaller_lies_on_top():
    large, small = labels_of((1, 2, 2)) > 0, labels_of((1, 2, 2)) > 0
    small[:4] = False
    found = Tracker().step(ColourView(labels_of((1, 2, 2))), [small, large])
    assert (found.labels.numpy()[small] == 1).all()
    assert (found.labels.numpy()[large & ~small] == 2).all()


def test_examples_stand_in_for_masks_and_stay():
    labels = labels_of((2, 14, 3))
    image = torch.from_numpy(photo_of(labels).transpose(2, 0, 1).copy())
    mask = torch.from_numpy(labels == 2)[None]
    named = Example(image, mask, torch.tensor([0]), Vocabulary(("frog",), (True,)))
    tracker = Tracker(examples=named)
    found = tracker.step(ColourView(labels))
    assert dict(found.names) == {1: "frog"}
    np.testing.assert_array_equal(found.labels.numpy(), (labels == 2).astype(np.int32))


def test_masks_of_examples_without_numbers_and_names_are_objects_of_their_own():
    labels = labels_of((1, 2, 0), (2, 14, 3))
    image = torch.from_numpy(photo_of(labels).transpose(2, 0, 1).copy())
    masks = torch.from_numpy(np.stack([labels == 1, labels == 2]))
    tracker = Tracker(examples=[Example(image, masks[:1]), Example(image, masks[1:])])
    found = tracker.step(ColourView(labels))
    assert dict(found.names) == {1: "object 1", 2: "object 2"}
    np.testing.assert_array_equal(found.labels.numpy(), labels)


def test_what_cannot_be_followed_is_refused_by_name():
    view = ColourView(labels_of((1, 2, 0)))
    with pytest.raises(ValueError, match="no object has begun: give masks"):
        Tracker().step(view)
    with pytest.raises(ValueError, match="memory must be 0 or more, got -1"):
        Tracker(memory=-1)
    with pytest.raises(ValueError, match="min_score must be from 0 to 1, got 2"):
        Tracker(min_score=2)
    with pytest.raises(ValueError, match=r"masks of 5x7 .* do not lie on a photo of 24x36"):
        Tracker().step(view, np.ones((5, 7), bool))
    learned = LearnedExample(
        "Other", torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), torch.zeros(1, 3), torch.tensor([5])
    )
    assert dict(Tracker(examples=learned)._names) == {5: "object 5"}


def test_masks_are_those_of_the_first_frame_or_of_numbered_ones():
    mask = np.ones((2, 2), bool)
    assert by_frame(None) == {}
    assert by_frame(mask) == {0: mask}
    assert by_frame({"cup": mask}) == {0: {"cup": mask}}
    assert by_frame({3: mask, 5: None}) == {3: mask}


def test_frames_before_the_first_object_are_empty(monkeypatch):
    """As evaluations ask for clips."""
    clip = moving(4, (1, 2, 0))
    monkeypatch.setattr(
        "freeseg.tracking.view.SystemView",
        lambda system, _, image: ColourView(system[image.tobytes()]),
    )
    system = type("Known", (dict,), {"photo_input": None})({photo_of(x).tobytes(): x for x in clip})
    frames = [
        ClipFrame(photo_of(labels), torch.from_numpy(labels).long() if number == 1 else None)
        for number, labels in enumerate(clip)
    ]
    found = list(track_clip(system, iter(frames)))
    assert not found[0].any()
    for labels, wanted in zip(found[1:], clip[1:]):
        np.testing.assert_array_equal(labels.numpy(), wanted)
