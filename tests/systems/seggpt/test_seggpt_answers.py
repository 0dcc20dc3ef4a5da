"""What SegGPT answers: colours, objects of several examples, passes, ensembles."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from freeseg import Segmenter
from freeseg.structures import Example, Frame, LearnedExample, Prompt, Request, Task, Vocabulary
from freeseg.systems.seggpt.colours import choose_colours, read_colours
from freeseg.systems.seggpt.examples import ObjectBook

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import picture
from tiny_systems import assert_close, assert_equal, seggpt_examples, tiny_seggpt

SIDE = 32
PHOTO = picture(50, 70, seed=3)["image"]
# the nearest two of so many colours and black, which are drawn from a grid of 51 steps
LEAST = {2: 290, 3: 270, 4: 250, 6: 180, 8: 150, 12: 140}


@pytest.mark.parametrize(("count", "least"), LEAST.items())
def test_colours_are_far_from_each_other_and_from_black(count, least):
    book = torch.cat([torch.zeros(1, 3), choose_colours(count).float()])
    between = torch.pdist(book)
    assert between.min() >= least
    chroma = book[1:].amax(1) - book[1:].amin(1)
    assert chroma.min() >= 100  # none is grey or white


def test_one_object_is_white_and_a_photos_own_colours_are_kept_away_from():
    assert choose_colours(1).tolist() == [[255, 255, 255]]
    plain = choose_colours(3)
    photo = plain[0].view(3, 1, 1).expand(3, 8, 8)
    with_photo = choose_colours(3, [photo])
    assert torch.cdist(with_photo.float(), plain[:1].float()).min() > 100
    assert torch.equal(with_photo, choose_colours(3, [photo]))
    assert len(choose_colours(180).unique(dim=0)) == 180


def test_more_colours_than_there_are_is_refused():
    with pytest.raises(ValueError, match="there are 180 colours, got 181 objects"):
        choose_colours(181)
    for number in (0, 181):
        with pytest.raises(ValueError, match=f"max_colours must be from 1 to 180, got {number}"):
            tiny_seggpt(1, ["MODEL.SEGGPT.MAX_COLOURS", number])


def test_a_painting_is_read_by_the_nearest_colour():
    colours = torch.tensor([[255, 255, 255], [255, 0, 0]], dtype=torch.uint8)
    pixels = [(0, 0, 0), (255, 255, 255), (250, 5, 5), (127.5, 0, 0), (300, -20, 0), (191.25, 0, 0)]
    painting = torch.tensor(pixels).T[:, None]  # [3, 1, 6]
    places, scores = read_colours(painting, colours)
    assert places[0, [0, 1, 2, 4, 5]].tolist() == [-1, 0, 1, 1, 1]
    assert scores[0, 0] == scores[0, 1] == 1
    assert scores[0, 3] == 0  # half way
    assert scores[0, 5] == pytest.approx((191.25 - 63.75) / 255)


def answered(model, prompt, photo=PHOTO, size=None):
    frame = Frame.of_whole(size or tuple(photo.shape[1:]), tuple(photo.shape[1:]))
    with torch.inference_mode():
        features = model.encode(model.prepare([photo], [frame]))
        request = Request(0, (Task.OBJECT,), prompt)
        model.check([request])
        return model.answer(features, [request])[0]


def two_squares(seed: int, **more) -> Example:
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 4:20, 4:20] = True
    masks[1, 10:36, 30:56] = True
    return Example(picture(40, 60, seed=seed)["image"], masks, **more)


@pytest.fixture(scope="module")
def model():
    return tiny_seggpt(1)


def test_every_object_is_a_row_on_the_photos_grid(model):
    ids = torch.tensor([7, 5])
    result = answered(model, Prompt(examples=(two_squares(1, ids=ids),)), size=(33, 91))
    found = result.objects
    assert found.masks.shape == (2, 33, 91)
    assert found.owners.tolist() == [0, 1]
    assert not found.masks.all(0).any()  # a pixel is one object's
    assert result.vocabulary is None
    swapped = Prompt(examples=(two_squares(1, ids=ids),), example_ids=(5, 7))
    other = answered(model, swapped, size=(33, 91)).objects
    assert torch.equal(other.masks, found.masks.flip(0))


def test_names_are_joined_over_examples():
    one = two_squares(
        1, labels=torch.tensor([0, 1]), vocabulary=Vocabulary(("cat", "sea"), (True, False))
    )
    other = two_squares(
        2, labels=torch.tensor([1, 0]), vocabulary=Vocabulary(("dog", "cat"), (True, True))
    )
    book = ObjectBook.read((one, other))
    assert book.vocabulary.names == ("cat", "sea", "dog")
    assert book.vocabulary.is_thing == (True, False, True)
    assert (book.ids, book.labels) == ((0, 1, 2), (0, 1, 2))
    assert book.rows == ((0, 1), (0, 2))
    assert ObjectBook.read((two_squares(1), two_squares(2))).rows == ((0, 1), (2, 3))
    mixed = (two_squares(1, ids=torch.tensor([4, 9])), two_squares(2, ids=torch.tensor([9, 1])))
    assert ObjectBook.read(mixed).rows == ((0, 1), (1, 2))


def test_examples_that_contradict_each_other_are_refused(model):
    named = two_squares(
        1, labels=torch.tensor([0, 1]), vocabulary=Vocabulary(("a", "b"), (True,) * 2)
    )
    with pytest.raises(ValueError, match="some examples have class names and some have none"):
        answered(model, Prompt(examples=(named, two_squares(2))))
    odd = replace(named, ids=torch.tensor([3, 3]))
    with pytest.raises(ValueError, match="object 3 has two classes"):
        answered(model, Prompt(examples=(odd,)))
    numbered = two_squares(1, ids=torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="object 1 has no example: no mask has the id 8"):
        answered(model, Prompt(examples=(numbered,), example_ids=(2, 8)))
    with pytest.raises(ValueError, match="object 0 has no example"):
        answered(model, Prompt(examples=(numbered,), example_ids=(None,)))


def test_the_order_of_examples_does_not_count(model):
    first, second = (two_squares(seed, ids=torch.tensor([1, 2])) for seed in (1, 2))
    one, other = (
        answered(model, Prompt(examples=some)) for some in ((first, second), (second, first))
    )
    assert_close(one, other)


def test_the_order_in_which_objects_come_does_not_count(model):
    """Nor which objects share a pass: there are three, two are painted at once."""
    first = two_squares(1, ids=torch.tensor([1, 2]))
    second = two_squares(2, ids=torch.tensor([3, 1]))
    one, other = (
        answered(model, Prompt(examples=some, example_ids=(1, 2, 3)))
        for some in ((first, second), (second, first))
    )
    assert_close(one, other)
    names = [("cat", "sea"), ("dog", "cat")]
    first, second = (
        replace(
            example, ids=None, labels=torch.tensor([0, 1]), vocabulary=Vocabulary(some, (True,) * 2)
        )
        for example, some in zip((first, second), names)
    )
    found = [answered(model, Prompt(examples=some)) for some in ((first, second), (second, first))]
    masks = [
        dict(zip((each.vocabulary.names[n] for n in each.objects.labels), each.objects.masks))
        for each in found
    ]
    for name in ("cat", "dog", "sea"):
        assert (masks[0][name] != masks[1][name]).float().mean() < 0.002, name


def test_masks_without_ids_stand_apart_from_those_with_some():
    both = ObjectBook.read((two_squares(1, ids=torch.tensor([0, 6])), two_squares(2)))
    assert both.ids == (0, 6, 7, 8)
    assert both.rows == ((0, 1), (2, 3))


def test_enrolled_examples_are_the_examples_to_the_last_bit(model):
    for examples in seggpt_examples():
        with torch.inference_mode():
            enrolled = model.enroll(examples)
        assert_equal(
            answered(model, Prompt(examples=examples)), answered(model, Prompt(enrolled=enrolled))
        )


def test_many_objects_are_painted_in_passes_of_which_the_surest_says(model, monkeypatch):
    """Three objects, two at a time; what each pass sees is given."""
    masks = torch.zeros(3, 40, 60, dtype=torch.bool)
    masks[:, :5] = True
    example = Example(picture(40, 60)["image"], masks, ids=torch.tensor([1, 2, 3]))
    with torch.inference_mode():
        enrolled = model.enroll((example,))
    assert [one.objects for one in enrolled.passes] == [(0, 1), (2,)]
    first, second = (one.colours.float() for one in enrolled.passes)
    paintings = [torch.zeros(3, SIDE, SIDE), torch.zeros(3, SIDE, SIDE)]
    paintings[0][:, :, :8] = first[0].view(3, 1, 1)
    paintings[0][:, :, 8:16] = first[1].view(3, 1, 1)
    paintings[0][:, :, 16:24] = 0.8 * first[1].view(3, 1, 1)  # not so sure
    paintings[1][:, :, 16:32] = second[0].view(3, 1, 1)
    turns = iter(paintings)
    monkeypatch.setattr(model, "paint", lambda *_: next(turns)[None])
    found = answered(model, Prompt(enrolled=enrolled), picture(SIDE, SIDE)["image"]).objects
    columns = found.masks.float().mean(1)  # [3, SIDE]
    for row, (left, right) in enumerate(((0, 8), (8, 16), (16, 32))):
        assert (columns[row, left:right] == 1).all()
        assert columns[row].sum() == right - left
    assert found.scores[:2].tolist() == pytest.approx([1, 1])


def test_queries_of_a_batch_do_not_feel_each_other(model):
    examples = seggpt_examples()[1]
    photos = [picture(50, 70, seed=seed)["image"] for seed in (1, 2, 3)]
    with torch.inference_mode():
        features = model.encode(model.prepare(photos))
        asked = [Request(n, (Task.OBJECT,), Prompt(examples=examples)) for n in (2, 0, 1)]
        together = model.answer(features, asked)
    for request, result in zip(asked, together):
        assert_close(result, answered(model, request.prompt, photos[request.index]))


def test_a_grid_of_examples_is_one_canvas():
    model = tiny_seggpt(1, ["MODEL.SEGGPT.ENSEMBLE", "spatial"])
    some = tuple(two_squares(seed, ids=torch.tensor([1, 2])) for seed in range(3))
    with torch.inference_mode():
        (one,) = model.enroll(some).passes
    assert one.photos.shape[0] == 1  # three examples and the first again
    assert answered(model, Prompt(examples=some)).objects.masks.shape == (2, 50, 70)
    with pytest.raises(ValueError, match="an ensemble is feature or spatial, got 'none'"):
        tiny_seggpt(1, ["MODEL.SEGGPT.ENSEMBLE", "none"])


def learned(**changes) -> LearnedExample:
    generator = torch.Generator().manual_seed(5)
    image, target = torch.randn(2, 3, SIDE, SIDE, generator=generator)
    known = {
        **{"system": "SegGPT", "image": image, "target": target, "ids": torch.tensor([1, 2])},
        "colours": torch.tensor([[255, 0, 0], [0, 0, 255]], dtype=torch.uint8),
    }
    return LearnedExample(**{**known, **changes})


def test_a_learned_example_is_shown_beside_others_in_its_own_colours(model):
    alone = answered(model, Prompt(examples=(learned(),))).objects
    assert alone.masks.shape == (2, 50, 70)
    photo = two_squares(1, ids=torch.tensor([2, 1]))
    with torch.inference_mode():
        (both,) = model.enroll((learned(), photo)).passes
    assert both.colours.tolist() == [[255, 0, 0], [0, 0, 255]]
    assert len(both.photos) == 2
    with torch.inference_mode():
        (turned,) = model.enroll((photo, learned())).passes
    assert turned.colours.tolist() == [[0, 0, 255], [255, 0, 0]]  # object 2 comes first now


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"system": "SINE"}, "a learned example of SINE of 32 pixels is not for SegGPT of 32"),
        ({"image": torch.zeros(3, 8, 8), "target": torch.zeros(3, 8, 8)}, "of 8 pixels"),
        ({"ids": torch.tensor([1, 3])}, "objects that the learned one does not know"),
    ],
)
def test_learned_examples_that_do_not_fit_are_refused(model, changes, message):
    photo = two_squares(1, ids=torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=message):
        answered(model, Prompt(examples=(learned(**changes), photo)))
    other = learned(colours=torch.tensor([[0, 255, 0], [0, 0, 255]], dtype=torch.uint8))
    with pytest.raises(ValueError, match="unlike colours"):
        answered(model, Prompt(examples=(learned(), other)))


def test_an_example_without_masks_shows_nothing(model):
    nothing = Example(picture(40, 60)["image"], torch.zeros(0, 40, 60, dtype=torch.bool))
    found = answered(model, Prompt(examples=(nothing,))).objects
    assert found.masks.shape == (0, 50, 70)
    both = answered(model, Prompt(examples=(nothing, two_squares(1)))).objects
    assert len(both) == 2


def test_channels_are_rgb():
    with pytest.raises(ValueError, match="tells colours apart in RGB"):
        tiny_seggpt(1, ["INPUT.FORMAT", "BGR"])


def test_a_session_takes_examples_in_every_form_and_refuses_old_ones(tmp_path):
    segmenter = Segmenter(tiny_seggpt(1))
    photo = PHOTO.permute(1, 2, 0).numpy()
    mask = np.zeros((50, 70), bool)
    mask[10:30, 5:40] = True
    with segmenter.open(photo) as session:
        found = session(examples=(photo, {"thing": mask}))
        assert found.objects.names == ("thing",)
        enrolled = segmenter.enroll((photo, {"thing": mask}))
        again = session(examples=enrolled)
        np.testing.assert_array_equal(found.objects.masks, again.objects.masks)
        with torch.no_grad():
            segmenter.model.mask_token.add_(0.1)
        with pytest.raises(ValueError, match="enrolled by another model or other weights"):
            session(examples=enrolled)
        with pytest.raises(ValueError, match="an empty list of examples shows nothing"):
            session(examples=[])
