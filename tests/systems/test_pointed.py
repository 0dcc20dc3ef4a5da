"""A system that is clicked at, made of nothing: what the seam carries for those that come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from detectron2.data import transforms as T
from freeseg import Segmenter
from freeseg.inference import PhotoInput
from freeseg.structures import (
    PROMPT_KEY,
    Frame,
    ImageFeatures,
    InstanceSet,
    Marks,
    Prompt,
    Request,
    SegmentationResult,
    Takes,
    Task,
)
from freeseg.systems import SegmentationSystem, register_system

# four flat colours, 24 x 40: a quarter each
COLOURS = np.array([[[200, 0, 0], [0, 200, 0]], [[0, 0, 200], [90, 90, 90]]], dtype=np.uint8)
PHOTO = COLOURS.repeat(12, axis=0).repeat(20, axis=1)


@dataclass(frozen=True, eq=False)
class Pixels(ImageFeatures):
    """The images themselves."""

    images: Tensor  # [B, 3, H, W]


class SameColour(SegmentationSystem[Pixels]):
    """An object is all that has the colour of its first click, or of the middle of its box."""

    vocabulary = None
    answers: Mapping[Task, Takes] = {Task.OBJECT: Takes(needs=frozenset({"points", "boxes"}))}
    sees_windows = True

    def __init__(self, shortest: int = 48) -> None:
        resize = T.ResizeShortestEdge([shortest, shortest], 400, interp=0)
        super().__init__(photo_input=PhotoInput(resize, size_divisibility=32), tasks=(Task.OBJECT,))
        self.encoded = 0

    def encode(self, prepared):
        self.encoded += 1
        return Pixels(prepared.frames, prepared.pixels)

    def answer(self, features, requests):
        return [self._result(features, request) for request in requests]

    def _result(self, features, request):
        frame, marks = features.frames[request.index], request.prompt.marks
        image = features.images[request.index]
        middles = (marks.boxes[:, :2] + marks.boxes[:, 2:]) / 2
        places = middles if marks.points.shape[1] == 0 else marks.points[:, 0]
        masks = []
        for x, y in frame.to_model(places).long().tolist():
            is_same = (image == image[:, y, x][:, None, None]).all(0)
            shown = frame.without_padding(is_same)[None, None].float()
            masks.append(
                torch.nn.functional.interpolate(shown, frame.photo_size, mode="nearest")[0, 0] > 0
            )
        stacked = torch.stack(masks) if masks else torch.zeros(0, *frame.photo_size).bool()
        count = len(stacked)
        boxes = torch.zeros(count, 4)
        for box, mask in zip(boxes, stacked):
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            box[:] = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        objects = InstanceSet(
            stacked,
            boxes,
            None,
            torch.full((count,), 0.75),
            qualities=torch.full((count,), 3.0),
            owners=torch.arange(count),
            choices=torch.zeros(count, dtype=torch.int64),
        )
        return SegmentationResult(objects=objects)


@pytest.fixture
def system():
    return SameColour().eval()


def test_clicks_and_boxes_are_answered_on_the_photo_from_one_encoding(system):
    segmenter = Segmenter(system)
    assert segmenter.tasks == ("object",)
    with segmenter.open(PHOTO) as session:
        one = session(points=[(30, 5)])
        two = session(points=[[(5.5, 3.5)], [(39, 23)]])
        three = session(boxes=[2, 14, 12, 22])
    assert system.encoded == 1
    wanted = {
        name: (colour == PHOTO).all(-1)
        for name, colour in zip(("red", "green", "blue", "grey"), COLOURS.reshape(4, 3))
    }
    np.testing.assert_array_equal(one.objects.masks, wanted["green"][None])
    np.testing.assert_array_equal(two.objects.masks, [wanted["red"], wanted["grey"]])
    np.testing.assert_array_equal(three.objects.masks, wanted["blue"][None])
    assert one.objects.boxes.tolist() == [[20, 0, 40, 12]]
    assert two.objects.owners.tolist() == [0, 1]
    assert two.objects.qualities.tolist() == [3, 3]
    assert two.objects.choices.tolist() == [0, 0]


def test_no_object_is_an_empty_result(system):
    features = system.encode(system.prepare([torch.from_numpy(PHOTO).permute(2, 0, 1)]))
    for nothing in ({"boxes": np.zeros((0, 4))}, {"boxes": []}, {"points": torch.zeros(0, 3, 2)}):
        prompt = Prompt(marks=Marks.read((24, 40), **nothing))
        (found,) = system.answer(features, [Request(0, (Task.OBJECT,), prompt)])
        assert len(found.objects) == 0
        assert found.objects.image_size == (24, 40)
    shown = Segmenter(system).open(PHOTO)(boxes=np.zeros((0, 4)))
    assert shown.objects.masks.shape == (0, 24, 40)
    assert shown.names == ()


def test_results_are_drawn_and_written(system, tmp_path):
    result = Segmenter(system).open(PHOTO)(points=[[(5.5, 3.5)], [(39, 23)]])
    assert result.tasks == ("object",)
    assert result.names == ("object", "object")
    assert result.masks.shape == (2, 24, 40)
    assert (result.picture()[3, 5] != PHOTO[3, 5]).any(), "what was clicked at is tinted"
    np.testing.assert_array_equal(result.picture()[3, 30], PHOTO[3, 30])
    files = result.save(tmp_path, "photo")
    assert set(files) == {"object_overlay", "objects_json"}
    rows = json.loads(files["objects_json"].read_text())
    assert [row["bbox"] for row in rows] == [[0, 0, 20, 12], [20, 12, 20, 12]]
    assert [row["score"] for row in rows] == [0.75, 0.75]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "SameColour needs boxes or points for object"),
        ({"task": "semantic"}, "does not have the task 'semantic', only object"),
        ({"points": [(41, 3)]}, r"points\[0\]\[0\] is outside the photo of 40 x 24"),
        ({"boxes": [5, 5, 5, 9]}, r"boxes\[0\] must be left, top, right, bottom with an area"),
        ({"signs": [1]}, "signs are of points, and no points were given"),
        ({"masks": np.ones((24, 40))}, "does not take masks for object; it takes boxes, points"),
        ({"text": "cat"}, "SameColour knows no classes, and takes no class list"),
    ],
)
def test_what_it_does_not_take_is_refused_before_it_looks(system, asked, message):
    session = Segmenter(system).open(PHOTO)
    with pytest.raises(ValueError, match=message):
        session(**asked)
    assert system.encoded == 0


def test_dicts_carry_prompts_and_objects(system):
    image = torch.from_numpy(PHOTO).permute(2, 0, 1)
    prompt = Prompt(marks=Marks.read((48, 80), points=[(60, 10)]))
    (output,) = system([{"image": image, "height": 48, "width": 80, PROMPT_KEY: prompt}])
    found = output["objects"]
    assert found.image_size == (48, 80)
    assert not found.has("pred_classes")
    assert found.pred_owners.tolist() == [0]
    expected = (COLOURS[0, 1] == PHOTO).all(-1).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(found.pred_masks[0], expected)
    with pytest.raises(ValueError, match="prompt is a Prompt, got dict"):
        system([{"image": image, PROMPT_KEY: {}}])


def test_a_window_of_a_photo_is_asked_in_the_photos_pixels(system):
    window = PHOTO[:, 16:40]
    frame = Frame((24, 40), (24, 24), (24, 24), (16, 0, 40, 24))
    assert frame.to_model(torch.tensor([[30.0, 5.0]])).tolist() == [[14.0, 5.0]]
    prepared = system.prepare([torch.from_numpy(window).permute(2, 0, 1)], [frame])
    assert prepared.frames[0].window == frame.window
    assert prepared.frames[0].padded_size == (32, 32)


def test_a_system_whose_forward_is_replaced_is_asked_by_it(system, monkeypatch):
    whole = {"objects": SameColour.forward(system, [_clicked()])[0]["objects"]}
    monkeypatch.setattr(SameColour, "forward", lambda self, batch: [whole for _ in batch])
    system.encoded = 0
    session = Segmenter(system).open(PHOTO)
    with pytest.raises(ValueError, match="needs boxes or points for object"):
        session()
    assert session(points=[(5, 5)]).objects.boxes.tolist() == [[20, 0, 40, 12]]
    assert system.encoded == 0


def _clicked():
    prompt = Prompt(marks=Marks.read((24, 40), points=[(30, 10)]))
    return {"image": torch.from_numpy(PHOTO).permute(2, 0, 1), PROMPT_KEY: prompt}


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"points": [5, 5]}, r"points must be a list of them, got \[5, 5\]"),
        ({"boxes": 5}, "boxes must be lists, an array or a tensor, got 5"),
        (
            {"boxes": [1, 1, 1 + 1e-9, 2]},
            r"boxes\[0\] must be left, top, right, bottom with an area",
        ),
        ({"masks": "mask"}, r"masks must be arrays of \(24, 40\)|wanted masks of"),
        ({"masks": [np.zeros((24, 40)), np.zeros((2, 2))]}, r"masks must be arrays of \(24, 40\)"),
    ],
    ids=["one point", "a number", "no area in single precision", "text", "unlike masks"],
)
def test_what_people_get_wrong_first_is_said(system, marks, message):
    with pytest.raises(ValueError, match=message):
        Segmenter(system).open(PHOTO)(**marks)


def test_frames_are_of_their_images_and_parts_are_seen_by_those_that_can(system, monkeypatch):
    image = torch.from_numpy(PHOTO[:, :24]).permute(2, 0, 1)
    part = Frame((24, 40), (24, 24), (24, 24), (0, 0, 24, 24))
    system.prepare([image], [part])
    monkeypatch.setattr(SameColour, "sees_windows", False)
    with pytest.raises(ValueError, match=r"SameColour sees whole photos, not \(0, 0, 24, 24\)"):
        system.prepare([image], [part])
    with pytest.raises(ValueError, match=r"is not of an image of \(24, 24\)"):
        system.prepare([image], [Frame.of_whole((24, 40))])


def test_a_session_encodes_anew_for_other_weights(system):
    system.scale = torch.nn.Parameter(torch.ones(1))
    session = Segmenter(system).open(PHOTO)
    for count in range(1, 5):
        if count == 3:
            with torch.no_grad():
                system.scale.copy_(torch.full((1,), 3.0))
        session(points=[(5, 5)])
        assert system.encoded == (1 if count < 3 else 2)
    system.double()
    session(points=[(5, 5)])
    assert system.encoded == 3


def test_a_system_in_training_says_so(system):
    session = Segmenter(system).open(PHOTO)
    system.train()
    with pytest.raises(ValueError, match="training needs inputs with instances or sem_seg"):
        session(points=[(5, 5)])


def test_words_that_mean_nothing_are_refused_where_a_system_is_made():
    with pytest.raises(ValueError, match=r"a prompt has .*points.*, not pionts"):
        Takes(needs=frozenset({"pionts"}))
    with pytest.raises(ValueError, match="in lower case and by its own name, got 'lseg'"):
        register_system("lseg", SameColour)
    with pytest.raises(ValueError, match="in lower case and by its own name, got 'Same Colour'"):
        register_system("Same Colour", SameColour)
    with pytest.raises(TypeError, match="phrases are a tuple, one for every row, got 'cat'"):
        Prompt(phrases="cat")
    with pytest.raises(TypeError, match=r"a class list is a Vocabulary .*, got list"):
        Prompt(vocabulary=["cat"])
