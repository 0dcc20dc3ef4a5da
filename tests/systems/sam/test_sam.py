"""SAM: what answers depend on, and what they do not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.ops import mask_boxes
from freeseg.structures import Frame, Marks, Prompt, Request, Task, Wants
from freeseg.systems.sam.answers import photo_logits, photo_masks
from freeseg.systems.sam.config import sam_parts
from freeseg.systems.sam.mask_decoder import choose
from freeseg.systems.sam.prompts import NO_POINT, PADDING, ROUGH_LOGIT, PointPrompts

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import picture
from tiny_systems import tiny_sam

PHOTO_SIZE = (57, 83)
POINTS = [[(20, 30), (60, 11)], [(70, 50)], [(5, 5), (44, 31), (80, 2)], [(33, 33)]]
SIGNS = [[1, 0], [1], [1, 1, 0], [1]]
ANSWERS_ALONE = Wants(alternatives=False)


@pytest.fixture(scope="module")
def model():
    return tiny_sam(3)


@pytest.fixture(scope="module")
def features(model):
    frame = Frame.of_whole(PHOTO_SIZE, (88, 128))
    with torch.inference_mode():
        return model.encode(model.prepare([picture(88, 128)["image"]], [frame]))


@torch.inference_mode()
def decode(model, features, **marks):
    prompt = Prompt(marks=Marks.read(PHOTO_SIZE, **marks))
    prompts = PointPrompts.read(prompt, features.frames[0], features.embedding.shape[-1])
    return model.decode(features, [0] * len(prompts), prompts)


@torch.inference_mode()
def objects(model, features, prompt, **more):
    (result,) = model.answer(features, [Request(0, (Task.OBJECT,), prompt, **more)])
    return result.objects


def assert_near(first, second):
    for one, other in zip(first, second):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)


def test_objects_of_unequal_points_are_what_each_is_alone(model, features):
    together = decode(model, features, points=POINTS, signs=SIGNS)
    for row, (points, signs) in enumerate(zip(POINTS, SIGNS)):
        alone = decode(model, features, points=[points], signs=[signs])
        assert_near(alone, (each[row : row + 1] for each in together))


def test_objects_of_unlike_kinds_are_what_each_is_alone(model, features):
    """One has a box, another a mask, a third nothing but points."""
    rough = torch.zeros(3, *PHOTO_SIZE)
    rough[1, 10:40, 20:60] = 1
    marks = Marks.read(PHOTO_SIZE, points=[[(20, 30)], [], [(60, 11), (5, 5)]], masks=rough)
    marks.boxes[0] = torch.tensor([10.0, 20, 40, 50])
    prompt = Prompt(marks=marks)
    prompts = PointPrompts.read(prompt, features.frames[0], 8)
    together = model.decode(features, [0] * 3, prompts)
    alone = [
        decode(model, features, points=[[(20, 30)]], boxes=[10, 20, 40, 50]),
        decode(model, features, masks=rough[1]),
        decode(model, features, points=[(60, 11), (5, 5)]),
    ]
    assert prompts.num_tokens.tolist() == [3, 0, 3]
    for row, one in enumerate(alone):
        assert_near(one, (each[row : row + 1] for each in together))


def test_filled_up_rows_are_no_tokens_but_the_releases_padding_is_one(model, features):
    base = PointPrompts(torch.tensor([[[30.0, 40]]]), torch.tensor([[1]]))
    found = []
    for label in (PADDING, NO_POINT):
        more = PointPrompts(
            torch.cat([base.points, torch.rand(1, 4, 2) * 100], 1),
            torch.cat([base.labels, torch.full((1, 4), label)], 1),
        )
        found.append(model.decode(features, [0], more))
    alone = model.decode(features, [0], base)
    assert_near(alone, found[0])
    assert (alone.mask_logits - found[1].mask_logits).abs().max() > 0.01


def test_permuted_objects_and_points_give_permuted_masks(model, features):
    order = [2, 0, 3, 1]
    first = decode(model, features, points=POINTS, signs=SIGNS)
    permuted = {"points": [POINTS[n] for n in order], "signs": [SIGNS[n] for n in order]}
    assert_near(decode(model, features, **permuted), (each[order] for each in first))
    turned = {"points": [one[::-1] for one in POINTS], "signs": [one[::-1] for one in SIGNS]}
    assert_near(decode(model, features, **turned), first)


def test_many_objects_are_what_a_few_are(model, features):
    """However many are decoded together."""
    places = [[(float(x), float(x) / 2)] for x in range(1, 82, 3)]
    together = decode(model, features, points=places)
    for row in (0, 7, 8, len(places) - 1):
        alone = decode(model, features, points=[places[row]])
        assert_near(alone, (each[row : row + 1] for each in together))


def test_objects_of_several_images_are_decoded_together(model):
    images = [picture(128, 128, seed)["image"] for seed in range(3)]
    with torch.inference_mode():
        features = model.encode(model.prepare(images))
        points = torch.rand(3, 1, 2, generator=torch.Generator().manual_seed(0)) * 128
        prompts = PointPrompts.of_marks(
            points, torch.ones(3, 1, dtype=torch.int64), torch.full((3, 4), torch.nan)
        )
        together = model.decode(features, [2, 0, 2], prompts)
        for row, image in enumerate([2, 0, 2]):
            some = prompts.chunk(row, row + 1)
            alone = model.decode(features.select([image]), [0], some)
            assert_near(alone, (each[row : row + 1] for each in together))


@torch.inference_mode()
def test_logits_of_an_answer_are_what_a_mask_prompt_is(model, features):
    marks = Marks.read(PHOTO_SIZE, points=POINTS[:2], signs=SIGNS[:2])
    first = objects(model, features, Prompt(marks=marks), wants=ANSWERS_ALONE)
    again = objects(
        model, features, Prompt(marks=marks, logits=first.mask_logits), wants=ANSWERS_ALONE
    )
    frame = features.frames[0]
    by_hand = PointPrompts.of_marks(
        frame.to_model(marks.points),
        torch.where(marks.signs == -1, PADDING, marks.signs),
        marks.boxes,
        first.mask_logits[:, None],
    )
    expected = model.decode(features, [0, 0], by_hand)
    chosen = choose(expected.qualities, by_hand.num_tokens)
    row = torch.arange(2)
    assert torch.equal(again.mask_logits, expected.mask_logits[row, chosen])
    assert not torch.equal(again.mask_logits, first.mask_logits)


def test_an_answer_comes_first_and_its_other_readings_follow_by_quality(model, features):
    one = {"points": [[(20, 30)]]}
    many = {"points": [[(20, 30), (60, 11)]], "signs": [[1, 0]]}
    box = {"boxes": [5, 5, 40, 50]}
    for marks, wanted in ((one, [0, 1, 2]), (many, [0, 1, 2, 3]), (box, [0, 1, 2])):
        decoded = decode(model, features, **marks)
        found = objects(model, features, Prompt(marks=Marks.read(PHOTO_SIZE, **marks)))
        assert found.choices.tolist() == wanted
        readings = found.qualities[-3:]
        assert readings.tolist() == sorted(decoded.qualities[0, 1:].tolist(), reverse=True)
        if len(wanted) == 4:
            assert found.qualities[0] == decoded.qualities[0, 0]
        assert torch.equal(found.scores, found.qualities.clamp(0, 1))
        assert torch.equal(found.boxes, mask_boxes(found.masks))
        prompt = Prompt(marks=Marks.read(PHOTO_SIZE, **marks))
        alone = objects(model, features, prompt, wants=ANSWERS_ALONE)
        assert torch.equal(alone.masks, found.masks[:1])


@pytest.mark.parametrize(("tokens", "chosen"), [(0, 2), (2, 2), (3, 0), (9, 0)])
def test_one_prompt_has_the_best_reading_and_several_have_the_first_mask(tokens, chosen):
    qualities = torch.tensor([[0.99, 0.2, 0.7, 0.5]])
    assert choose(qualities, torch.tensor([tokens])).tolist() == [chosen]


@pytest.mark.parametrize(("many", "chosen"), [(0, [0, 0, 0]), (3, [2, 0, 0]), (4, [2, 2, 0])])
def test_several_prompts_are_what_is_said_to_be_many(many, chosen):
    qualities = torch.tensor([[0.1, 0.2, 0.7, 0.5]]).expand(3, -1)
    assert choose(qualities, torch.tensor([2, 3, 4]), many).tolist() == chosen


def test_three_masks_for_less_than_a_click_are_refused():
    with pytest.raises(ValueError, match="many_prompts is 0 or from 3 on, got 2"):
        tiny_sam(opts=["MODEL.SAM.MANY_PROMPTS", 2])


def test_a_model_of_one_mask_answers_with_the_first_and_has_no_other_reading(features):
    one = tiny_sam(3, opts=["MODEL.SAM.MANY_PROMPTS", 0])
    for marks in ({"points": [(20, 30)]}, {"boxes": [10, 20, 40, 50]}):
        decoded = decode(one, features, **marks)
        found = objects(one, features, Prompt(marks=Marks.read(PHOTO_SIZE, **marks)))
        assert found.choices.tolist() == [0]
        assert torch.equal(found.mask_logits, decoded.mask_logits[:, 0])
        assert torch.equal(found.qualities, decoded.qualities[:, 0])


def test_masks_are_enlarged_in_two_steps_and_a_step_to_the_same_size_is_none():
    logits = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    frame = Frame.of_whole((50, 75), (43, 64), (64, 64))
    square = torch.nn.functional.interpolate(logits[None], (64, 64), mode="bilinear")
    shown = square[..., :43, :64]
    wanted = torch.nn.functional.interpolate(shown, (50, 75), mode="bilinear")[0]
    assert torch.equal(photo_logits(logits, frame), wanted)
    assert torch.equal(photo_masks(logits, frame), wanted > 0)
    same = Frame.of_whole((43, 64), (43, 64), (64, 64))
    assert torch.equal(photo_logits(logits, same), shown[0])


def test_masks_of_a_window_lie_in_it():
    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0))
    window = Frame((90, 100), (43, 64), (64, 64), (20, 30, 95, 80))
    whole = Frame.of_whole((50, 75), (43, 64), (64, 64))
    found = photo_masks(logits, window)
    assert torch.equal(found[:, 30:80, 20:95], photo_masks(logits, whole))
    assert found.sum() == found[:, 30:80, 20:95].sum()


def test_a_rough_mask_is_shown_where_it_lies():
    mask = torch.zeros(1, 40, 60)
    mask[:, :20, 30:] = 1
    frame = Frame.of_whole((40, 60), (64, 96), (96, 96))
    prompts = PointPrompts.read(Prompt(marks=Marks.read((40, 60), masks=mask)), frame, 6)
    logits = prompts.mask_logits[0, 0]
    assert logits.shape == (24, 24)
    assert logits[:7, 13:14].numpy() == pytest.approx(ROUGH_LOGIT)
    assert logits[9:].numpy() == pytest.approx(-ROUGH_LOGIT)
    assert logits[:, :11].numpy() == pytest.approx(-ROUGH_LOGIT)


def test_an_empty_rough_mask_is_none(model, features):
    with_none = {"points": [[(20, 30)], [(60, 11)]]}
    rough = torch.zeros(2, *PHOTO_SIZE)
    rough[0, :20, :20] = 1
    found = decode(model, features, masks=rough, **with_none)
    plain = decode(model, features, **with_none)
    assert_near((each[1:] for each in found), (each[1:] for each in plain))
    assert (found.mask_logits[0] - plain.mask_logits[0]).abs().max() > 0.01


EMPTY = {
    "points": torch.zeros(0, 1, 2),
    "boxes": [],
    "masks": torch.zeros(0, *PHOTO_SIZE),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_no_object_is_an_empty_result(model, features, kind):
    marks = Marks.read(PHOTO_SIZE, **{kind: EMPTY[kind]})
    found = objects(model, features, Prompt(marks=marks))
    assert found.masks.shape == (0, *PHOTO_SIZE)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((213, 320), (107, 160)),
        ((164, 256), (103, 160)),
        ((30, 20), (160, 107)),
        ((160, 90), (160, 90)),
        ((1, 160), (1, 160)),
    ],
)
def test_the_short_side_is_rounded_half_a_pixel_up(size, wanted):
    model = tiny_sam(0, 160)
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = model.photo_input(photo)
    assert image.shape == (3, *wanted)
    prepared = model.prepare([image])
    assert prepared.pixels.shape == (1, 3, 160, 160)
    assert (prepared.pixels[0, :, wanted[0] :] == 0).all()
    assert (prepared.pixels[0, :, :, wanted[1] :] == 0).all()


def test_an_image_that_is_larger_than_the_square_is_refused(model):
    with pytest.raises(ValueError, match="SAM sees 128 x 128 pixels, got 40 x 129"):
        model.prepare([picture(40, 129)["image"]])


def test_logits_of_another_model_are_refused(model, features):
    marks = Marks.read(PHOTO_SIZE, points=[(3, 3)])
    with pytest.raises(
        ValueError, match=r"former answer are of \(9, 9\), this model's of \(32, 32"
    ):
        objects(model, features, Prompt(marks=marks, logits=torch.zeros(1, 9, 9)))


def test_an_unknown_encoder_is_refused():
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.SAM.ENCODER = "hiera"
    with pytest.raises(ValueError, match="ENCODER is vit, tiny_vit or pyramid, got 'hiera'"):
        sam_parts(cfg)
