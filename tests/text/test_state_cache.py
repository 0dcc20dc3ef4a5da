"""What the cache of token states keeps, and when it keeps nothing."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from freeseg.text import TextStateCache, TextStates, load_toy_clip
from freeseg.text import state_cache as module


@pytest.fixture
def encoder(monkeypatch):
    """A frozen encoder that notes what it is asked for."""
    encoder = load_toy_clip()
    encoder.asked = []
    states = encoder.states
    monkeypatch.setattr(
        encoder, "states", lambda texts: encoder.asked.append(list(texts)) or states(texts)
    )
    return encoder


def same(found, wanted):
    for field in dataclasses.fields(TextStates):
        torch.testing.assert_close(
            getattr(found, field.name), getattr(wanted, field.name), atol=1e-5, rtol=1e-5
        )


def test_a_name_is_encoded_once_whatever_list_it_is_in(encoder):
    cache = TextStateCache()
    cache.get(encoder, ["red star", "sand"])
    texts = ["sand", "a blue heart", "red star", "sand"]
    found = cache.get(encoder, texts)
    assert encoder.asked == [["red star", "sand"], ["a blue heart"]]
    same(found, load_toy_clip().states(texts))


def test_other_weights_are_another_encoder(encoder):
    cache = TextStateCache()
    before = cache.get(encoder, ["star"])
    with torch.no_grad():
        encoder.ln_final.bias += 1
    after = cache.get(encoder, ["star"])
    assert len(encoder.asked) == 2
    assert not torch.allclose(before.states, after.states)


def test_nothing_is_kept_of_an_encoder_that_is_trained(encoder):
    cache = TextStateCache()
    encoder.token_embedding.requires_grad_(True)
    found = [cache.get(encoder, ["star"]) for _ in range(2)]
    assert len(encoder.asked) == 2
    assert all(each.states.requires_grad for each in found)
    with torch.no_grad():
        cache.get(encoder, ["star"])
        kept = cache.get(encoder, ["star"])
    assert len(encoder.asked) == 3
    assert not kept.states.requires_grad


def test_what_is_kept_can_be_used_in_training_and_has_full_precision(encoder):
    cache = TextStateCache()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        cache.get(encoder, ["star"])
    found = cache.get(encoder, ["star"])
    assert len(encoder.asked) == 1
    assert not found.states.is_inference()
    assert found.states.dtype == torch.float32
    same(found, load_toy_clip().states(["star"]))


def test_the_least_recently_used_go_first(encoder):
    cache = TextStateCache(max_entries=2)
    cache.get(encoder, ["star", "sand"])
    cache.get(encoder, ["star"])
    cache.get(encoder, ["heart"])
    encoder.asked.clear()
    cache.get(encoder, ["star", "heart"])
    assert encoder.asked == []
    cache.get(encoder, ["sand"])
    assert encoder.asked == [["sand"]]
    assert len(cache.get(encoder, ["a", "red", "blue", "heart"])) == 4, "longer than the cache"


def test_clearing_forgets(encoder):
    cache = TextStateCache()
    cache.get(encoder, ["star"])
    cache.clear()
    cache.get(encoder, ["star"])
    assert len(encoder.asked) == 2


def test_long_lists_are_encoded_in_parts(encoder, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    texts = ["star", "red heart", "sand", "blue", "grass"]
    found = TextStateCache().get(encoder, texts)
    assert encoder.asked == [texts[:2], texts[2:4], texts[4:]]
    same(found, load_toy_clip().states(texts))


def test_rows_do_not_keep_their_batch_in_memory(encoder):
    cache = TextStateCache()
    cache.get(encoder, ["star", "a photo of a red star"])
    for row in cache._entries.values():
        assert row.states.untyped_storage().nbytes() == row.states.nbytes


def test_threads_that_ask_at_once_compute_once(encoder):
    cache = TextStateCache()
    threads = [threading.Thread(target=cache.get, args=(encoder, ["star"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert encoder.asked == [["star"]]


def test_no_texts_are_refused(encoder):
    with pytest.raises(ValueError, match="one text at least, got none"):
        TextStateCache().get(encoder, [])
