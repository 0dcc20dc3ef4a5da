"""Grounding DINO: what the original computed, batches, class lists, phrases."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from freeseg import Segmenter
from freeseg.checkpoints import KEY_MAPS
from freeseg.inference.input_size import InputSize
from freeseg.parity import check_folder
from freeseg.structures import Frame, Prompt, Request, Task, Vocabulary, Wants
from freeseg.systems.grounding_dino.answers import class_boxes, name_scores, phrase_scores
from freeseg.systems.grounding_dino.boxes import inverse_sigmoid, to_centres, to_corners
from freeseg.systems.grounding_dino.fusion import TwoWayAttention
from freeseg.systems.grounding_dino.parity import NOT_COMPARED, built

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import picture
from tiny_systems import tiny_grounding_dino

NAMES = ("cat", "traffic light", "dog", "sea lion", "ball")


@pytest.fixture(scope="module")
def stored(golden):
    return built(golden)


@pytest.fixture(scope="module")
def model():
    return tiny_grounding_dino(1)


@pytest.fixture(scope="module")
def features(model):
    with torch.inference_mode():
        return model.encode(model.prepare([picture(60, 90)["image"]]))


def asked(model, features, vocabulary=None, phrases=None, **wants):
    """Instances, or objects where phrases are given."""
    task = Task.INSTANCE if phrases is None else Task.OBJECT
    prompt = Prompt(vocabulary=vocabulary, phrases=phrases)
    with torch.inference_mode():
        (result,) = model.answer(features, [Request(0, (task,), prompt, wants=Wants(**wants))])
    return result.instances if phrases is None else result.objects


def listed(*names: str) -> Vocabulary:
    return Vocabulary(names, (True,) * len(names))


def test_the_original_computed_the_same(golden):
    checks = check_folder("grounding_dino", golden.folder, 1e-4)
    assert [str(check) for check in checks if not check.is_ok] == []
    left_out = {check.name for check in checks if check.difference is None}
    assert left_out == set(NOT_COMPARED)
    assert len(checks) - len(left_out) == 100


def test_a_batch_of_two_captions_is_each_alone(golden, stored):
    """The release mixes their masks: its batch differs by 5.6 in logits."""
    texts = json.loads((golden.folder / "text.json").read_text())["cases"]
    captions = [texts[name]["caption"] for name in ("one", "two")]
    images = [golden.tensors[f"{name}.image"] for name in ("one", "two")]
    with torch.no_grad():
        text = stored.text_side(stored.text_side.of_captions(captions))
        features = stored.encode(stored.prepare(images))
        last = stored.decode(features, text).layers[-1]
    for row, name in enumerate(("one", "two")):
        count = golden.tensors[f"{name}.input_ids"].shape[1]
        wanted = golden.tensors[f"{name}.pred_logits"][0, :, :count]
        torch.testing.assert_close(last.word_logits[row, :, :count], wanted, atol=1e-4, rtol=0)
        assert (last.word_logits[row, :, count:] == -torch.inf).all()
        boxes = golden.tensors[f"{name}.pred_boxes"][0]
        torch.testing.assert_close(last.boxes[row], boxes, atol=1e-4, rtol=0)
    released = golden.tensors["pair_release.pred_boxes"]
    alone = torch.cat([golden.tensors[f"{name}.pred_boxes"] for name in ("one", "two")])
    assert (released - alone).abs().max() > 0.9


def test_photos_are_resized_as_in_the_release(golden):
    size = InputSize(800, 1333, as_detr=True)
    rows = json.loads((golden.folder / "text.json").read_text())["resize_800_1333"]
    for row in rows:
        assert list(size.of_image(row["height"], row["width"])) == row["out"]
    ports = InputSize(800, 1333, rounds_down=True)
    assert ports.of_image(100, 1700) != size.of_image(100, 1700) == (78, 1326)


def test_weights_with_and_without_the_prefix_of_training_are_one(golden):
    names = golden.weights
    state = {f"module.{name}": value for name, value in _released(golden).items()}
    assert set(KEY_MAPS["grounding_dino"].convert(state).state) == set(names)


def _released(golden):
    from freeseg.checkpoints import read_checkpoint

    return read_checkpoint(golden.folder / "model.safetensors")


def test_two_way_attention_is_the_sum_of_its_formula():
    torch.manual_seed(0)
    layer = TwoWayAttention(channels=12, inner_channels=8, num_heads=2).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    image, text = torch.randn(2, 7, 12).double(), torch.randn(2, 5, 12).double()
    padding = torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 4:] = True
    is_token = torch.ones(2, 5, dtype=torch.bool)
    is_token[0, 3:] = False
    found = layer(image, text, padding, is_token)
    for row in range(2):
        v, w = image[row], text[row]
        image_reads, text_reads = torch.zeros(7, 8).double(), torch.zeros(5, 8).double()
        for head in (slice(0, 4), slice(4, 8)):
            scores = (layer.v_proj(v)[:, head] / 2) @ layer.l_proj(w)[:, head].T
            over_text = scores.masked_fill(~is_token[row], -torch.inf).softmax(1)
            over_image = scores.T.masked_fill(padding[row], -torch.inf).softmax(1)
            image_reads[:, head] = over_text @ layer.values_l_proj(w)[:, head]
            text_reads[:, head] = over_image @ layer.values_v_proj(v)[:, head]
        torch.testing.assert_close(found[0][row], layer.out_v_proj(image_reads))
        torch.testing.assert_close(found[1][row], layer.out_l_proj(text_reads))


def test_boxes_and_logits_of_shares():
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.6]])
    assert to_corners(boxes).tolist() == [pytest.approx([0.4, 0.1, 0.6, 0.7])]
    torch.testing.assert_close(to_centres(to_corners(boxes)), boxes)
    ends = inverse_sigmoid(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]), 1e-3)
    assert ends.tolist() == pytest.approx([-6.9078, -6.9078, 0.0, 6.9078, 6.9078], abs=1e-4)


def test_a_name_has_the_mean_of_its_words_and_a_phrase_its_best():
    logits = torch.tensor([[9.0, 0.0, 2.0, -1.0, 9.0], [-9.0, 1.0, 1.0, 3.0, -9.0]])
    p = logits.sigmoid()
    found = name_scores(logits, [(1, 3), (3, 4)])
    torch.testing.assert_close(found, torch.stack([p[:, 1:3].mean(1), p[:, 3]], dim=1))
    torch.testing.assert_close(phrase_scores(logits, (1, 4)), p[:, 1:4].amax(1))


def test_a_class_has_its_best_text_and_that_texts_box():
    vocabulary = Vocabulary.from_classes("car|auto, dog")
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.9]])
    boxes = torch.arange(6.0).view(2, 3, 1).expand(-1, -1, 4) / 20 + 0.2
    found = class_boxes(
        scores,
        boxes,
        vocabulary,
        Frame.of_whole((10, 20)),
        max_instances=3,
        min_score=0.5,
    )
    assert found.labels.tolist() == [1, 0, 0]
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    shares = to_corners(torch.stack([boxes[1, 2], boxes[0, 1], boxes[1, 0]]))
    wanted = (shares * torch.tensor([20, 10, 20, 10])).clamp(min=0)
    torch.testing.assert_close(found.boxes, wanted)


def test_the_order_of_names_changes_nothing(model, features):
    order = [3, 0, 4, 2, 1]
    first = asked(model, features, listed(*NAMES))
    second = asked(model, features, listed(*(NAMES[place] for place in order)))
    torch.testing.assert_close(first.scores, second.scores, atol=1e-5, rtol=0)
    named = [[names[label] for label in found.labels] for names, found in (
        (NAMES, first), ([NAMES[place] for place in order], second))]  # fmt: skip
    assert named[0] == named[1]
    torch.testing.assert_close(first.boxes, second.boxes, atol=1e-2, rtol=0)


def test_parts_of_a_long_list_never_feel_each_other(model, features, monkeypatch):
    monkeypatch.setattr(model.text_side, "max_names", 2)
    monkeypatch.setattr(model, "max_instances", 1000)
    whole = asked(model, features, listed(*NAMES))
    for number, some in enumerate((NAMES[:2], NAMES[2:4], NAMES[4:])):
        alone = asked(model, features, listed(*some))
        mine = torch.isin(whole.labels, torch.arange(2 * number, 2 * number + len(some)))
        torch.testing.assert_close(whole.scores[mine], alone.scores, atol=1e-5, rtol=0)
        assert (whole.labels[mine] - 2 * number).tolist() == alone.labels.tolist()
    assert len(whole) == 9 * len(NAMES)


def test_stuff_has_no_boxes(model, features):
    mixed = Vocabulary(("sky", "cat", "road", "dog"), (False, True, False, True))
    found, things = asked(model, features, mixed), asked(model, features, listed("cat", "dog"))
    assert set(found.labels.tolist()) == {1, 3}
    torch.testing.assert_close(found.scores, things.scores)
    nothing = asked(model, features, Vocabulary(("sky",), (False,)))
    assert (len(nothing), nothing.boxes.shape) == (0, (0, 4))


def test_phrases_are_asked_alone_and_have_readings(model, features):
    phrases = ("the red cat, on the left", "a dog")
    found = asked(model, features, phrases=phrases)
    assert found.owners.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.choices.tolist() == [0, 1, 2, 0, 1, 2]
    for owner, phrase in enumerate(phrases):
        alone = asked(model, features, phrases=(phrase,))
        torch.testing.assert_close(found.scores[found.owners == owner], alone.scores)
        assert alone.scores.tolist() == sorted(alone.scores.tolist(), reverse=True)
    answers = asked(model, features, phrases=phrases, alternatives=False)
    assert answers.choices.tolist() == [0, 0]
    torch.testing.assert_close(answers.boxes, found.boxes[found.choices == 0])


def test_text_padding_changes_nothing(model, features):
    text = model.text_side.of_captions(["a cat .", "a dog and a very long tail . sea ."])
    alone = model.text_side.of_captions(["a cat ."])
    with torch.inference_mode():
        both = model.decode(features.select([0, 0]), model.text_side(text)).layers[-1]
        one = model.decode(features, model.text_side(alone)).layers[-1]
    count = alone.ids.shape[1]
    torch.testing.assert_close(
        both.word_logits[0, :, :count], one.word_logits[0], atol=1e-4, rtol=0
    )
    torch.testing.assert_close(both.boxes[0], one.boxes[0], atol=1e-5, rtol=0)


def test_fewer_tokens_than_queries_are_all_taken(model):
    with torch.inference_mode():
        small = model.encode(model.prepare([picture(16, 16)["image"]]))
        assert small.tokens.shape[1] < 9
        found = asked(model, small, listed("cat"))
    assert len(found) == small.tokens.shape[1]


def test_a_session_asks_by_names_and_by_phrases_of_one_encoding(model, monkeypatch):
    calls = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda prepared: calls.append(1) or encode(prepared))
    photo = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    with Segmenter(model).open(photo) as session:
        named = session(text="sidecar, car, traffic light")
        meant = session(phrases="the car on the left")
    assert calls == [1]
    assert set(named.names) <= {"sidecar", "car", "traffic light"}
    assert named.masks is None
    assert named.segments().boxes.shape == (len(named.names), 4)
    assert meant.segments("object").choices.tolist() == [0, 1, 2]


def test_without_trained_classes_somebody_has_to_name_some():
    model = tiny_grounding_dino(opts=["DATASETS.TRAIN", ("no_such_set",)])
    with pytest.raises(ValueError, match="GroundingDINO needs classes for instance"):
        model([picture()])


def test_frozen_sides_do_not_learn():
    for side, prefix in (("image", "backbone."), ("text", "text_side.encoder.")):
        model = tiny_grounding_dino(opts=["MODEL.GROUNDING_DINO.FREEZE", [side]])
        learns = {name for name, each in model.named_parameters() if each.requires_grad}
        assert learns
        assert not [name for name in learns if name.startswith(prefix)]
    with pytest.raises(ValueError, match=r"FREEZE knows image and text, got \['words'\]"):
        tiny_grounding_dino(opts=["MODEL.GROUNDING_DINO.FREEZE", ["words"]])


def test_another_text_encoder_is_refused_by_name():
    with pytest.raises(ValueError, match="reads captions by a BERT"):
        tiny_grounding_dino(opts=["MODEL.TEXT_ENCODER.NAME", "toy_clip"])


def test_a_larger_certainty_is_a_better_box(model, features):
    vocabulary = listed("cat", "dog")
    prompt = Prompt(vocabulary=vocabulary)
    request = Request(0, (Task.INSTANCE,), prompt, wants=Wants(certainty=True))
    with torch.inference_mode():
        (result,) = model.answer(features, [request])
    assert result.certainty == pytest.approx(float(result.instances.scores[0]))
    assert replace(result, certainty=None).vocabulary == vocabulary
