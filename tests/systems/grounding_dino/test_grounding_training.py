"""How Grounding DINO is trained: losses, matches, captions of class lists and of what was said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freeseg import build_model
from freeseg.structures import Vocabulary, read_sample
from freeseg.systems.grounding_dino.boxes import to_corners
from freeseg.systems.grounding_dino.parity import built
from freeseg.systems.grounding_dino.targets import read_targets
from freeseg.systems.grounding_dino.training import BoxTarget, BoxTraining

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import annotated, picture
from tiny_systems import tiny_grounding_dino, tiny_grounding_dino_config

from detectron2.structures import Boxes, Instances, pairwise_iou

RAW = dict.fromkeys(("loss_ce", "loss_bbox", "loss_giou"), 1.0)
KNOWN = {None: Vocabulary.from_classes("cat|kitten, dog, traffic light, sea")}
SAID = "A cat and two dogs, one of them black"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def side():
    return tiny_grounding_dino().text_side


def test_losses_and_matches_are_those_of_the_published_criterion(golden):
    wanted = json.loads((golden.folder / "loss.json").read_text())
    model = built(golden)
    (part,) = model.text_side.listed(wanted["classes"])
    captions = model.text_side.of_captions([wanted["caption"]])
    assert captions.ids[0].tolist() == list(part.ids)
    words = torch.zeros(len(wanted["labels"]), len(part.ids), dtype=torch.bool)
    for row, label in zip(words, wanted["labels"]):
        row[slice(*part.spans[label])] = True
    target = BoxTarget(torch.tensor(wanted["labels"]), torch.tensor(wanted["boxes_cxcywh"]), words)
    with torch.no_grad():
        features = model.encode(model.prepare([golden.tensors["one.image"]]))
        _, selected, layers = model.decode(features, model.text_side(captions))
    predictions = {
        "_0": (layers[0].word_logits, layers[0].boxes),
        "_interm": (selected.word_logits, selected.box_logits.sigmoid()),
        "": (layers[1].word_logits, layers[1].boxes),
    }
    training = BoxTraining(weights=RAW)
    losses = training(predictions, [target], torch.ones(1, len(part.ids), dtype=torch.bool))
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(
        wanted["losses"], rel=1e-5, abs=1e-4
    )
    for prediction, pairs in zip(predictions.values(), wanted["matches"], strict=True):
        (found,) = training.match(*prediction, [target])
        assert [each.tolist() for each in found] == pairs


def test_losses_of_one_box_by_hand():
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.2, 0.2, 0.2, 0.2]]])
    logits = torch.tensor([[[2.0, -1.0, -torch.inf], [0.5, 0.0, -torch.inf]]])
    is_token = torch.tensor([[True, True, False]])
    true = torch.tensor([[0.5, 0.5, 0.2, 0.4]])
    target = BoxTarget(torch.tensor([0]), true, torch.tensor([[True, False, False]]))
    training = BoxTraining(weights=RAW)
    assert [each.tolist() for each in training.match(logits, boxes, [target])[0]] == [[0], [0]]
    found = training({"": (logits, boxes)}, [target], is_token)
    p = logits[0, :, :2].sigmoid()
    positive = -0.25 * (1 - p[0, 0]) ** 2 * p[0, 0].log()
    others = [p[0, 1], p[1, 0], p[1, 1]]
    negative = sum(-0.75 * each**2 * (1 - each).log() for each in others)
    assert float(found["loss_ce"]) == pytest.approx(float(positive + negative), rel=1e-5)
    assert float(found["loss_bbox"]) == pytest.approx(0.2)
    assert float(found["loss_giou"]) == pytest.approx(0.5)  # half of the box, nothing around


def test_captions_are_drawn_of_what_is_there_and_other_names(side):
    sample = read_sample(annotated([2, 0, 2]), 255)
    seen = set()
    for seed in range(40):
        found = read_targets([sample], side, KNOWN, generator(seed))
        ids, words = found.captions.ids[0], found.targets[0].words
        said = [side.encoder.text_of(ids[row].tolist()) for row in words]
        assert said[0] == said[2] == "traffic light"
        assert said[1] in ("cat", "kitten")
        seen.add(side.encoder.text_of(ids[1:-1].tolist()))
    assert len(seen) > 10
    assert any("dog" in caption and "sea" in caption for caption in seen)
    assert any("dog" not in caption and "sea" in caption for caption in seen)
    boxes = to_corners(found.targets[0].boxes)
    torch.testing.assert_close(
        boxes * torch.tensor([64, 48, 64, 48]),
        torch.tensor([[0.0, 0, 64, 16], [0, 16, 64, 32], [0, 32, 64, 48]]),
    )


def test_names_that_do_not_fit_are_those_that_are_not_there(monkeypatch, side):
    many = {None: Vocabulary.from_classes([f"thing {chr(97 + n)}" for n in range(20)])}
    monkeypatch.setattr(side, "max_names", 6)
    sample = read_sample(annotated([3, 17]), 255)
    for seed in range(10):
        found = read_targets([sample], side, many, generator(seed))
        assert found.targets[0].words.any(1).all()
        stops = int((found.captions.ids == 1012).sum())
        assert 3 <= stops <= 6


def test_words_of_what_was_said_are_found_by_their_characters(side):
    phrases = (((2, 5),), ((10, 18), (32, 37)))
    sample = read_sample(annotated([0, 1], caption=SAID, phrases=phrases), 255)
    found = read_targets([sample], side, {}, generator())
    ids, words = found.captions.ids[0], found.targets[0].words
    said = [side.encoder.text_of(ids[row].tolist()) for row in words]
    assert said == ["cat", "two dogs black"]
    assert int(ids[-2]) == 1012  # the stop that was not said


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ((((2, 5),),), "phrases for 1 of its 2 objects"),
        ((((2, 5),), ((5, 6),)), r"\(\(5, 6\),\) are no words of 'A cat"),
    ],
)
def test_phrases_that_are_not_there_are_refused(side, phrases, message):
    sample = read_sample(annotated([0, 1], caption=SAID, phrases=phrases), 255)
    with pytest.raises(ValueError, match=message):
        read_targets([sample], side, {}, generator())


def test_labels_without_names_are_refused(side):
    sample = read_sample(annotated([0], dataset_name="nobody_knows"), 255)
    with pytest.raises(ValueError, match="no class names are known of the dataset 'nobody_knows'"):
        read_targets([sample], side, {}, generator())


def test_boxes_alone_are_enough():
    instances = Instances((48, 64))
    instances.gt_classes = torch.tensor([1])
    instances.gt_boxes = Boxes(torch.tensor([[8.0, 6.0, 40.0, 30.0]]))
    sample = read_sample({**picture(), "instances": instances}, 255)
    found = read_targets([sample], tiny_grounding_dino().text_side, KNOWN, generator())
    assert found.targets[0].boxes.tolist() == [pytest.approx([0.375, 0.375, 0.5, 0.5])]


def test_a_scene_is_learned_by_heart():
    torch.manual_seed(0)
    cfg = tiny_grounding_dino_config(["MODEL.GROUNDING_DINO.NUM_QUERIES", 6])
    model = build_model(cfg).train()  # its start values, which the others leave far behind
    batch = [annotated([0, 1])]
    batch[0]["image"][:, :24] //= 4
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(80):
        torch.manual_seed(0)
        loss = sum(model(batch).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.01 * losses[0]
    model.eval()
    with torch.inference_mode():
        found = model([{**batch[0], "vocabulary": Vocabulary.from_classes("cat, dog")}])[0]
    for label, rows in enumerate(((0, 24), (24, 48))):
        best = found["instances"][found["instances"].pred_classes == label][0]
        wanted = Boxes(torch.tensor([[0.0, rows[0], 64.0, rows[1]]]))
        assert float(pairwise_iou(best.pred_boxes, wanted)) > 0.6
