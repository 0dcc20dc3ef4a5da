"""mIoU after clicks and numbers of clicks, counted by hand."""

from __future__ import annotations

import pytest
import torch
from scripted_system import ScriptedSystem, answers, region, shown
from tiny_systems import tiny_sam

from detectron2.evaluation import inference_on_dataset
from freeseg.evaluation.pointing import (
    ClickedObjects,
    ClickEvaluator,
    EncodedPhoto,
    ObjectPointing,
    PointingSettings,
    TrueObjects,
    click_on,
)
from freeseg.structures import InstanceSet
from freeseg.structures.marks import OFF, ON

SIZE = (24, 40)
# two objects of 160 pixels: how many of them are found after so many clicks
PLACES = [((1, 9), (1, 21)), ((11, 19), (18, 38))]
OBJECTS = [region(SIZE, *place) for place in PLACES]
FOUND = [[80, 136, 144, 152, 152, 152, 152, 152, 152], [16, 32, 48, 64, 80, 96, 96, 96, 96]]


def part(number: int, count: int) -> torch.Tensor:
    return region(SIZE, *PLACES[number], count)


def reply(prompt):
    """The next of FOUND for every object, told by the place of its first click."""
    count = prompt.marks.points.shape[1]
    numbers = [0 if points[0, 1] < 10 else 1 for points in prompt.marks.points]
    found = [part(n, FOUND[n][min(count, 9) - 1]) for n in numbers]
    logits = torch.stack([torch.full((2, 2), float(10 * count + n)) for n in numbers])
    return answers(found, mask_logits=logits)


def evaluate(system, inputs, evaluator=None, **settings):
    model = ObjectPointing(system, PointingSettings(kinds=("clicks",), **settings))
    evaluator = evaluator or ClickEvaluator(max_clicks=model.settings.max_clicks)
    return inference_on_dataset(model, [[one] for one in inputs], evaluator)["clicks"]


def test_by_hand():
    system = ScriptedSystem(reply)
    results = evaluate(system, [shown(OBJECTS)])
    assert results == pytest.approx(
        {
            "mIoU@1": 100 * (80 + 16) / 160 / 2,
            "mIoU@2": 100 * (136 + 32) / 160 / 2,
            "mIoU@3": 100 * (144 + 48) / 160 / 2,
            "mIoU@5": 100 * (152 + 80) / 160 / 2,
            "mIoU@9": 100 * (152 + 96) / 160 / 2,
            "oracle@1": 100 * (80 + 16) / 160 / 2,
            "NoC@85": (2 + 20) / 2,  # 136 of 160 are 85 percent
            "failures@85": 50.0,
            "NoC@90": (3 + 20) / 2,
            "failures@90": 50.0,
            "objects": 2.0,
            "skipped": 0.0,
        }
    )
    assert system.num_encoded == 1


def test_what_is_asked_is_the_history_of_an_object_and_its_logits():
    system = ScriptedSystem(reply)
    evaluate(system, [shown(OBJECTS)])
    counts = [len(prompt) for prompt in system.prompts]
    # after 9 clicks nothing that is reported depends on the first object any more
    assert counts == [2] * 9 + [1] * 11
    first, second = system.prompts[:2]
    assert first.marks.points[:, 0].tolist() == [[4.5, 4.5], [21.5, 14.5]]
    assert first.logits is None
    assert second.marks.points[:, :1].tolist() == first.marks.points.tolist()
    assert second.logits.flatten(1).tolist() == [[10.0] * 4, [11.0] * 4]
    last = system.prompts[-1]
    assert last.logits.flatten().tolist() == [191.0] * 4
    pixels = {tuple(point) for point in last.marks.points[0].tolist()}
    assert len(pixels) == 20


def test_objects_at_once_change_nothing_but_the_number_of_questions():
    together, apart = ScriptedSystem(reply), ScriptedSystem(reply)
    inputs = [shown(OBJECTS)]
    assert evaluate(together, inputs) == evaluate(apart, inputs, objects_at_once=1)
    assert (len(together.prompts), len(apart.prompts)) == (20, 9 + 20)
    assert apart.num_encoded == 1


def test_a_system_without_logits_gets_none():
    system = ScriptedSystem(reply, may=())
    assert evaluate(system, [shown(OBJECTS)])["NoC@85"] == 11
    assert all(prompt.logits is None for prompt in system.prompts)


def test_the_oracle_takes_the_best_reading_of_each_object():
    """An answer and two other readings; the second object's answer is its best."""

    def readings(prompt):
        found = [part(0, 80), part(0, 4), part(0, 160), part(1, 64), part(1, 2), part(1, 40)]
        stacked = torch.stack(found)[: 3 * len(prompt)]
        numbers = torch.arange(len(stacked))
        boxes = torch.zeros(len(stacked), 4)
        scores = torch.ones(len(stacked))
        return InstanceSet(stacked, boxes, None, scores, owners=numbers // 3, choices=numbers % 3)

    results = evaluate(ScriptedSystem(readings), [shown(OBJECTS)], max_clicks=1)
    assert results["mIoU@1"] == pytest.approx(100 * (0.5 + 0.4) / 2)
    assert results["oracle@1"] == pytest.approx(100 * (1 + 0.4) / 2)
    assert "mIoU@2" not in results
    assert results["NoC@85"] == 1
    assert results["failures@85"] == 100


def test_an_answer_that_is_right_is_left_alone():
    system = ScriptedSystem(lambda prompt: answers(OBJECTS[:1]))
    results = evaluate(system, [shown(OBJECTS[:1])])
    assert len(system.prompts) == 1
    assert results["mIoU@1"] == results["mIoU@9"] == 100
    assert results["NoC@90"] == 1


def test_too_much_is_clicked_off():
    grown = region(SIZE, (1, 9), (1, 31))
    system = ScriptedSystem(lambda prompt: answers([grown]))
    evaluate(system, [shown(OBJECTS[:1])], max_clicks=2)
    assert system.prompts[-1].marks.signs.tolist() == [[ON, OFF]]
    # of the 8 x 10 pixels too many, rows 1 to 8 and columns 21 to 30, the first of the deepest
    assert system.prompts[-1].marks.points[0, 1].tolist() == [24.5, 4.5]


def test_pixels_that_are_not_judged_count_for_nothing():
    ignored = region(SIZE, (1, 9), (8, 21))
    left = region(SIZE, (1, 9), (1, 8))
    system = ScriptedSystem(lambda prompt: answers([left]))
    results = evaluate(system, [shown(OBJECTS[:1], ignored=ignored)])
    assert results["mIoU@1"] == 100
    assert system.prompts[0].marks.points.tolist() == [[[4.5, 4.5]]]


def test_objects_without_a_pixel_and_photos_without_objects_are_skipped(caplog):
    nothing = torch.zeros(SIZE, dtype=torch.bool)
    system = ScriptedSystem(lambda prompt: answers(OBJECTS[:1]))
    inputs = [shown([nothing]), shown([nothing, OBJECTS[0]])]
    results = evaluate(system, inputs, ClickEvaluator(num_listed=3))
    assert (results["objects"], results["skipped"]) == (1, 2)
    assert "2 of 3 objects have no pixel" in caplog.text
    assert system.num_encoded == 1
    with pytest.raises(ValueError, match="no photo of the dataset has an object"):
        evaluate(system, inputs[:1])


def test_every_object_counts_alike_whatever_its_photo():
    evaluator = ClickEvaluator(max_clicks=1)
    for overlaps in ([0.9], [0.3, 0.6]):
        found = torch.tensor(overlaps, dtype=torch.float64)
        evaluator.process([{}], [{"clicks": ClickedObjects(found[:, None], found)}])
    assert evaluator.evaluate()["clicks"]["mIoU@1"] == pytest.approx(60)


def test_an_object_without_an_answer_is_named():
    system = ScriptedSystem(lambda prompt: answers(OBJECTS[:1]))
    with pytest.raises(ValueError, match=r"each of 2 objects, got those about \[0\]"):
        evaluate(system, [shown(OBJECTS)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instances": None}, "photo.png has no true objects"),
        ({"height": 20}, r"photo.png is a photo of \(20, 40\), its truth is of \(24, 40\)"),
        ({"ignored": torch.zeros(3, 3).bool()}, r"photo.png .* its truth is of \(3, 3\)"),
    ],
    ids=["none", "another size", "ignored of another size"],
)
def test_inputs_without_truth_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        evaluate(ScriptedSystem(reply), [{**shown(OBJECTS), **change}])


@torch.no_grad()
def test_sam_is_clicked_at_and_refined():
    """What the loop asks of a real system is what its own seam answers."""
    system, wanted = tiny_sam(1), shown(OBJECTS, image_id=1)
    wanted["image"] = torch.rand(3, 72, 120) * 255
    photo, objects = EncodedPhoto(system, wanted), TrueObjects.read(wanted)
    found = click_on(photo, objects, max_clicks=3)
    alone = [
        click_on(
            photo,
            TrueObjects(objects.masks[n : n + 1], objects.boxes[n : n + 1], objects.labels[:1]),
            max_clicks=3,
        )
        for n in range(2)
    ]
    assert found.overlaps.shape == (2, 3)
    assert (found.oracle >= found.overlaps[:, 0]).all()
    torch.testing.assert_close(found.overlaps, torch.cat([one.overlaps for one in alone]))
