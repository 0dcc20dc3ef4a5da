"""Captions: sub-sentences, names of class lists, and the release's way to read names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freeseg.systems.grounding_dino.captions import preprocess_caption, sub_sentences
from freeseg.systems.grounding_dino.parity import built
from freeseg.systems.grounding_dino.release import phrase_of, predict

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny_systems import tiny_grounding_dino

CLOSING = {101, 102, 1012, 1029}


@pytest.fixture(scope="module")
def texts(golden):
    return json.loads((golden.folder / "text.json").read_text())


@pytest.fixture(scope="module")
def side():
    return tiny_grounding_dino(opts=["MODEL.GROUNDING_DINO.MAX_TOKENS", 24]).text_side


def test_captions_are_prepared_as_in_the_release(texts):
    for raw, prepared in texts["preprocess_caption"]:
        assert preprocess_caption(raw) == prepared


def test_words_see_their_sub_sentence_alone_as_in_the_release(texts, side):
    for case in texts["masks"].values():
        captions = side.of_captions(case["captions"])
        assert captions.ids.tolist() == case["input_ids"]
        assert captions.is_token.long().tolist() == case["attention_mask"]
        assert captions.places.tolist() == case["position_ids"]
        for rows, sees in zip(captions.visible, case["sees"]):
            for row, (first, last) in zip(rows, sees):
                assert torch.nonzero(row)[:, 0].tolist() == list(range(first, last + 1))


@pytest.mark.parametrize("seed", range(20))
def test_sub_sentences_follow_the_walk_along_a_row(seed):
    """The release's rule, read word by word."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.tensor([7, 8, 1012, 1029, 102, 0])
    ids = kinds[torch.randint(len(kinds), (4, 11), generator=generator)]
    ids[:, 0] = 101
    visible, places = sub_sentences(ids, CLOSING)
    for row in range(len(ids)):
        seen, place = torch.eye(11, dtype=torch.bool), [0] * 11
        before = 0
        for column in range(11):
            if int(ids[row, column]) not in CLOSING:
                continue
            if column not in (0, 10):
                seen[before + 1 : column + 1, before + 1 : column + 1] = True
                place[before + 1 : column + 1] = range(column - before)
            before = column
        assert torch.equal(visible[row], seen)
        assert places[row].tolist() == place


def test_names_are_sub_sentences_of_their_own(side):
    (part,) = side.listed(["Traffic light", "t-shirt, red", "U.S. flag?"])
    words = [side.encoder.text_of(part.ids[first:behind]) for first, behind in part.spans]
    assert words == ["traffic light", "t - shirt red", "u s flag"]
    captions = side.of_ids([part.ids])
    for first, behind in part.spans:
        row = captions.visible[0, first]
        assert torch.nonzero(row)[:, 0].tolist() == list(range(first, behind + 1))  # and its stop


def test_a_long_list_is_cut_between_names_and_no_part_is_too_long(side):
    names = [f"red {word} thing" for word in ("cat", "dog", "car", "tree", "sea", "ball", "cup")]
    parts = side.listed(names)
    assert [list(part.texts) for part in parts] == [[0, 1, 2, 3, 4], [5, 6]]
    assert all(len(part.ids) <= side.max_tokens for part in parts)
    side.max_names, before = 2, side.max_names
    assert [len(part.texts) for part in side.listed(names)] == [2, 2, 2, 1]
    side.max_names = before


def test_a_name_that_is_too_long_alone_is_cut(side, caplog):
    (part,) = side.listed([" ".join(["very"] * 40)])
    assert len(part.ids) == side.max_tokens
    assert "has 40 tokens, of which 21 are read" in caplog.text


def test_a_name_without_words_is_refused(side):
    with pytest.raises(ValueError, match=r"the name ' \.\? ' has no words"):
        side.listed(["cat", " .? "])


def test_the_last_dot_of_what_was_said_makes_no_difference(side):
    assert side.closed("A cat and a dog") == side.closed("a cat and a dog.")


def test_states_of_a_caption_are_computed_once_and_anew_for_other_weights(side, monkeypatch):
    calls = []
    read = side.encoder.states_of_ids
    monkeypatch.setattr(
        side.encoder, "states_of_ids", lambda *given: calls.append(1) or read(*given)
    )
    captions = side.of_captions(["a lamp."])
    with torch.no_grad():
        first, again = side(captions).states, side(captions).states
        assert (len(calls), torch.equal(first, again)) == (1, True)
        weight = side.encoder.bert.embeddings.word_embeddings.weight
        kept = weight.clone()
        weight += 1.0
        assert not torch.equal(side(captions).states, first)
        weight.copy_(kept)
        assert torch.equal(side(captions).states, first)
    assert len(calls) == 2
    assert side(captions).states.requires_grad  # never kept where something learns
    assert len(calls) == 3


def test_boxes_name_themselves_as_in_the_release(golden, texts):
    model = built(golden)
    with torch.no_grad():
        for case in ("one", "two"):
            features = model.encode(model.prepare([golden.tensors[f"{case}.image"]]))
            for wanted in texts["predict"][case]:
                found = predict(
                    model,
                    features,
                    texts["cases"][case]["raw"],
                    box_threshold=wanted["box_threshold"],
                    text_threshold=wanted["text_threshold"],
                    remove_combined=wanted["remove_combined"],
                )
                assert found.phrases == wanted["phrases"]
                scores, boxes = torch.tensor(wanted["scores"]), torch.tensor(wanted["boxes_cxcywh"])
                torch.testing.assert_close(found.scores, scores, atol=1e-4, rtol=0)
                torch.testing.assert_close(found.boxes, boxes, atol=1e-4, rtol=0)


def test_tokens_that_are_on_read_as_in_the_release(texts, side):
    for example in texts["posmap_examples"]:
        caption = example.get("caption", texts["posmap_caption"])
        ids = side.of_captions([caption]).ids[0].tolist()
        words = torch.zeros(len(ids))
        words[example["token_indices"]] = 1.0
        assert phrase_of(side.encoder, ids, words, 0.5) == example["as_predict"]
