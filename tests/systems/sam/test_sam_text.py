"""SAM with phrases: pictures of objects in training, words at test."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from detectron2.structures import BitMasks, Instances
from freeseg import Segmenter
from freeseg.resources import resource
from freeseg.structures import PROMPT_KEY, Frame, Marks, Prompt, Request, Task, Wants, read_sample
from freeseg.systems import SAM
from freeseg.systems.sam.prompts import NO_POINT, PADDING, PointPrompts
from freeseg.systems.sam.text import PhraseEncoder, PictureTraining, square_boxes
from freeseg.systems.sam.training import ClickTraining, Objects

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import picture
from tiny_clip import tiny_clip
from tiny_systems import tiny_sam

SIZE = (57, 83)
PHOTO = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
WITH_TEXT = (
    *("MODEL.SAM.TEXT.ENABLED", True, "MODEL.TEXT_ENCODER.NAME", "toy_clip"),
    *("MODEL.TEXT_ENCODER.CACHE", False, "MODEL.SAM.TEXT.MIN_AREA", 100),
)


@pytest.fixture(scope="module")
def model():
    return tiny_sam(3, opts=WITH_TEXT)


@pytest.fixture(scope="module")
def features(model):
    frame = Frame.of_whole(SIZE, (88, 128))
    with torch.inference_mode():
        return model.encode(model.prepare([picture(88, 128)["image"]], [frame]))


@torch.inference_mode()
def objects(model, features, prompt):
    (result,) = model.answer(features, [Request(0, (Task.OBJECT,), prompt)])
    return result.objects


def assert_same(first, second):
    for name in ("masks", "qualities", "owners", "choices"):
        one, other = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def a_mask(*window: slice, size: tuple[int, int] = (24, 24)) -> torch.Tensor:
    masks = torch.zeros(1, *size, dtype=torch.bool)
    masks[(0, *window)] = True
    return masks


# pictures in training


def test_squares_are_as_long_as_the_longer_side_times_their_context():
    mask = a_mask(slice(10, 20), slice(30, 50), size=(40, 60))  # its middle is (40, 15)
    masks = mask.expand(3, -1, -1)
    boxes = square_boxes(masks, torch.tensor([1.0, 1.5, 2.0]))
    assert boxes.tolist() == [[30, 5, 50, 25], [25, 0, 55, 30], [20, -5, 60, 35]]


@pytest.fixture
def pictures(monkeypatch):
    """A phrase encoder of 16 pixels, and what its CLIP has been shown."""
    encoder, shown = PhraseEncoder(clip_model=tiny_clip()), []
    encode = encoder.clip_model.encode_inside

    def watch(images, masks):
        shown.append((images, masks))
        return encode(images, masks)

    monkeypatch.setattr(encoder.clip_model, "encode_inside", watch)
    return encoder, shown


def test_a_picture_shows_the_square_and_clips_mean_colour_beyond_the_image(pictures):
    encoder, shown = pictures
    image = torch.randint(256, (3, 20, 24), generator=torch.Generator().manual_seed(0)).float()
    masks = a_mask(slice(0, 8), slice(2, 10)).expand(2, -1, -1)  # of the square of 24
    boxes = torch.tensor([[-2.0, -4, 14, 12]] * 2)  # 16 x 16: nothing is resampled
    found = encoder.of_crops(image, masks, boxes, torch.tensor([False, True]))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    ((whole, alone), inside), mean, std = (
        shown[0],
        *(
            torch.tensor(values).view(3, 1, 1)
            for values in (encoder.clip_model.pixel_mean, encoder.clip_model.pixel_std)
        ),
    )
    expected = torch.zeros(3, 16, 16)
    expected[:, 4:, 2:] = (image[:, :12, :14] / 255 - mean) / std
    torch.testing.assert_close(whole, expected, atol=1e-4, rtol=1e-4)
    own = torch.zeros(16, 16, dtype=torch.bool)
    own[4:12, 4:12] = True
    torch.testing.assert_close(alone, expected * own, atol=1e-4, rtol=1e-4)
    assert torch.equal(inside, own.expand(2, -1, -1))


def test_what_is_below_the_image_in_its_square_has_the_mean_colour(pictures):
    encoder, shown = pictures
    encoder.of_crops(
        torch.full((3, 16, 24), 255.0),
        a_mask(slice(8, 16), slice(8, 16)),
        torch.tensor([[8.0, 8, 24, 24]]),
        torch.tensor([False]),
    )
    (whole,), _ = shown[0]
    assert (whole[:, :8] > 0.5).all()
    assert whole[:, 8:].abs().max() < 1e-4


def test_large_objects_begin_with_a_picture_by_chance():
    masks = torch.cat([a_mask(slice(0, side), slice(0, 10)) for side in (9, 10, 11, 24)])
    given, images = Objects([0, 0, 1, 0], masks, masks.float()), [torch.rand(3, 24, 24) * 255] * 2

    def begins(**settings):
        encoder = PhraseEncoder(clip_model=tiny_clip(), pictures=PictureTraining(**settings))
        found = encoder.of_objects(images, given, torch.Generator().manual_seed(0))
        return (~found.isnan()).all(1).tolist(), found

    assert begins(min_area=100)[0] == [False, False, True, True]
    assert begins(min_area=100, share=0.0)[0] == [False] * 4
    first, again = (begins(min_area=0)[1] for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(4))


def test_an_object_that_begins_with_a_picture_has_no_click_and_no_box():
    masks = torch.cat([a_mask(slice(2, 14), slice(2, 14)), a_mask(slice(0, 9), slice(9, 20))])
    seen: list[PointPrompts] = []

    class Target:
        labels = torch.tensor([0, 1])

    Target.masks = masks

    def decode(rows, prompts):
        seen.append(prompts)
        logits = torch.zeros(2, 4, 24, 24, requires_grad=True)
        return type("Decoded", (), {"mask_logits": logits, "qualities": logits[..., 0, 0]})()

    def describe(objects, generator):
        phrases = torch.full((2, 5), torch.nan)
        phrases[objects.masks[:, 3, 3]] = 1.0  # the first
        return phrases

    torch.manual_seed(0)
    ClickTraining(num_points=1, box_share=1.0)(decode, [Target], (24, 24), describe)
    first, later = seen[0], seen[-1]
    row = int(first.phrases.isnan().any(1).logical_not().nonzero())
    assert first.labels[row].tolist() == [PADDING] * 3
    assert first.labels[1 - row].tolist() == [PADDING, 2, 3]  # the other has its box
    assert first.num_tokens.tolist()[row] == 1
    # then it is clicked at, and still has its picture
    assert later.labels[row, -2:].tolist() == [NO_POINT, PADDING]
    assert later.num_tokens.tolist() == [3, 3]
    assert torch.equal(later.phrases.nan_to_num(), first.phrases.nan_to_num())


def shapes() -> dict:
    """A red square and a blue circle on grey."""
    rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    square = (rows > 10) & (rows < 40) & (columns > 8) & (columns < 38)
    circle = (rows - 65) ** 2 + (columns - 66) ** 2 < 18**2
    image = torch.full((3, 96, 96), 110.0)
    for mask, color in ((square, (214.0, 32, 38)), (circle, (38.0, 72, 214))):
        image = torch.where(mask, torch.tensor(color)[:, None, None], image)
    instances = Instances((96, 96))
    instances.gt_classes = torch.tensor([0, 1])
    instances.gt_masks = BitMasks(torch.stack([square, circle]))
    return {"image": image, "instances": instances, "height": 96, "width": 96}


def test_words_find_what_was_learned_from_pictures():
    opts = ("MODEL.SAM.TRAIN.POINTS", 0, "MODEL.SAM.TEXT.MOST_CONTEXT", 1.2)
    opts += ("INPUT.TEST_RESIZE.LONG_SIDE", 96)
    model = tiny_sam(0, 96, (*WITH_TEXT, *opts)).train()
    assert not model.text.clip_model.training
    sample, before = read_sample(shapes(), 255), model.text.clip_model.state_dict()
    before = {name: weight.clone() for name, weight in before.items()}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    torch.manual_seed(0)
    for _ in range(60):
        losses = model.losses([sample])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    assert model.prompt_encoder.text.weight.grad.abs().max() > 0
    after = model.text.clip_model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    prompt = Prompt(phrases=("red square", "blue circle"))
    with torch.inference_mode():
        (output,) = model.eval()([{**shapes(), PROMPT_KEY: prompt, "alternatives": False}])
    masks, truth = output["objects"].pred_masks, sample.instances.gt_masks.tensor
    shared = (masks[:, None] & truth).flatten(2).sum(2)
    overlaps = shared / (masks[:, None] | truth).flatten(2).sum(2)
    assert overlaps.diagonal().min() > 0.5, overlaps
    assert overlaps.fliplr().diagonal().max() < 0.2, overlaps


# words at test


def test_a_phrase_is_the_text_embedding_in_the_pictures_place(model, features):
    clip = model.text.clip_model
    with torch.inference_mode():
        text = F.normalize(clip(clip.tokenize(["a red star"])), dim=1)
        prompts = PointPrompts(torch.zeros(1, 0, 2), torch.zeros(1, 0).long(), phrases=text)
        decoded = model.decode(features, [0], prompts)
    assert prompts.num_tokens.tolist() == [1]
    found = objects(model, features, Prompt(phrases=("a red star",)))
    assert found.owners.tolist() == [0, 0, 0]  # one prompt: three readings
    best = decoded.qualities[0, 1:].sort(descending=True).values
    torch.testing.assert_close(found.qualities, best, atol=1e-5, rtol=1e-5)
    other = objects(model, features, Prompt(phrases=("blue circle",)))
    assert (other.qualities - found.qualities).abs().max() > 1e-4


def test_templates_stand_around_phrases():
    encoder = PhraseEncoder(clip_model=tiny_clip(), templates=["a {}.", "the {}"])
    texts = encoder.clip_model(encoder.clip_model.tokenize(["a cat.", "the cat"]))
    expected = F.normalize(F.normalize(texts, dim=1).sum(0), dim=0)
    found = encoder.of_phrases(["cat", None])
    torch.testing.assert_close(found[0], expected)
    assert found[1].isnan().all()


def test_rows_are_what_each_is_alone(model, features):
    marks = Marks.read(SIZE, points=[[(20, 30)], [], [(60, 11), (9, 9)]])
    phrases = (None, "red star", "blue circle")
    together = objects(model, features, Prompt(marks, phrases))
    assert together.owners.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    parts = [
        Prompt(Marks.read(SIZE, points=[(20, 30)])),
        Prompt(phrases=("red star",)),
        Prompt(Marks.read(SIZE, points=[(60, 11), (9, 9)]), ("blue circle",)),
    ]
    alone = torch.cat([objects(model, features, part).qualities for part in parts])
    torch.testing.assert_close(together.qualities, alone, atol=2e-4, rtol=1e-4)


def test_sessions_and_dicts_agree_and_points_refine(model):
    segmenter = Segmenter(model)
    session = segmenter.open(PHOTO)
    first = session(phrases="red star")
    assert_same(first.objects, session(phrases=["red star"], task="object").objects)
    prompt = Prompt(phrases=("red star",))
    shown = {"image": session.photo.pixels, "height": SIZE[0], "width": SIZE[1]}
    with torch.inference_mode():
        (output,) = model([{**shown, PROMPT_KEY: prompt}])
    np.testing.assert_array_equal(first.objects.masks, output["objects"].pred_masks.numpy())
    second = session.refine(first, points=[(20, 30)], signs=[0])
    known = second.answer.prompt
    assert known.kinds == {"phrases", "points", "logits"}
    assert known.phrases == ("red star",)
    assert torch.equal(known.logits, first.answer.logits)
    assert second.previous is first
    at_once = session(phrases="red star", points=[(20, 30)], signs=[0])
    assert at_once.answer.prompt.kinds == {"phrases", "points"}
    assert not len(session(phrases=[]).objects)


# what is refused, and what checkpoints hold


BAD = {
    "rows": ({"phrases": ["a", "b"], "points": [(5, 5)]}, "marks of 1, phrases of 2"),
    "silent": ({"phrases": ["a", None]}, "object 1 has no point, box, mask or phrase"),
    "empty": ({"phrases": " "}, "phrase 0 is empty"),
    "nothing": ({}, "SAM needs boxes or everything or masks or phrases or points for object"),
    "task": ({"phrases": "a", "task": "semantic"}, "does not have the task 'semantic'"),
}


@pytest.mark.parametrize(("given", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_asked_is_refused_by_name(model, given, message):
    session = Segmenter(model).open(PHOTO)
    with pytest.raises(ValueError, match=message):
        session(**given)


def test_a_model_without_text_takes_no_phrases(model):
    plain = Segmenter(tiny_sam(3)).open(PHOTO)
    with pytest.raises(ValueError, match="does not take phrases for object; it takes boxes"):
        plain(phrases="red star")
    assert "phrases" not in SAM.answers[Task.OBJECT].kinds
    assert "phrases" in model.answers[Task.OBJECT].kinds


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (("INPUT.FORMAT", "BGR"), "CLIP sees RGB: INPUT.FORMAT must be RGB, got BGR"),
        (
            ("MODEL.TEXT_ENCODER.NAME", "clip_text", "MODEL.TEXT_ENCODER.MODEL", "RN50"),
            "ClipText sees none: MODEL.TEXT_ENCODER.NAME must be open_clip, clip or toy_clip",
        ),
    ],
    ids=["channels", "half a CLIP"],
)
def test_what_cannot_be_learned_from_is_refused(opts, message):
    with pytest.raises(ValueError, match=message):
        tiny_sam(0, opts=(*WITH_TEXT, *opts))


def test_checkpoints_hold_the_clip_if_they_are_told_to(model):
    short = tiny_sam(3, opts=(*WITH_TEXT, "MODEL.TEXT_ENCODER.SAVE", False))
    names, fewer = set(model.state_dict()), set(short.state_dict())
    clip = {name for name in names if name.startswith("text.clip_model.")}
    assert names - fewer == clip != set()
    assert fewer - set(tiny_sam(3).state_dict()) == {
        "prompt_encoder.text.weight",
        "prompt_encoder.text.bias",
    }
    for state in (model.state_dict(), short.state_dict()):
        for other in (model, short):
            other.load_state_dict(state)


def test_a_backbone_that_was_trained_elsewhere_is_taken():

    state = load_file(resource("weights/shapes_regnetx_002.safetensors"))
    opts = ("MODEL.SAM.ENCODER", "pyramid", "MODEL.BACKBONE.NAME", "TimmBackbone")
    model = tiny_sam(0, opts=(*opts, "MODEL.TIMM.NAME", "regnetx_002"))
    found = model.load_state_dict(state, strict=False)
    assert found.unexpected_keys == []
    own = model.image_encoder.backbone.state_dict()
    name = "body.stem.conv.weight"
    assert torch.equal(own[name], state[f"backbone.{name}"].float())


def test_alternatives_and_certainty_are_of_phrases_too(model, features):
    request = Request(0, (Task.OBJECT,), Prompt(phrases=("red star",)))
    wants = Wants(certainty=True, alternatives=False)
    with torch.inference_mode():
        (result,) = model.answer(features, [replace(request, wants=wants)])
    assert len(result.objects) == 1
    assert result.certainty == pytest.approx(float(result.objects.scores[0]))
