from __future__ import annotations

import pytest
import torch

from freeseg.systems.oneformer.sentences import read_sentence, target_texts, task_sentence
from freeseg.systems.oneformer.text_encoder import CausalTextEncoder
from freeseg.text import tokenize


def test_tokens_are_those_of_open_clip():
    from open_clip.tokenizer import SimpleTokenizer

    texts = ["The task is panoptic", "a photo with a door, double door", "é!", "word " * 100, ""]
    expected = SimpleTokenizer()(texts, context_length=77)
    assert torch.equal(tokenize(texts, 77), expected)
    assert torch.equal(tokenize(texts, 12), SimpleTokenizer()(texts, context_length=12))
    assert tokenize([], 77).shape == (0, 77)


def test_texts_name_targets_in_order_of_class_and_then_the_task():
    names = ["cat", "dog", "sky"]
    assert target_texts("instance", [1, 0, 1], names, 5) == [
        "a photo with a cat",
        "a photo with a dog",
        "a photo with a dog",
        "an instance photo",
        "an instance photo",
    ]
    assert target_texts("semantic", [], names, 2) == ["a semantic photo"] * 2
    assert target_texts("panoptic", [2, 2, 2], names, 2) == ["a photo with a sky"] * 2


def test_tasks_are_named_as_ours_or_as_the_release_writes_them():
    assert read_sentence("The task is Semantic") == read_sentence("semantic") == "semantic"
    assert read_sentence("  Panoptic\n") == read_sentence(" the TASK is   panoptic ") == "panoptic"
    assert task_sentence("panoptic") == "the task is panoptic"
    with pytest.raises(ValueError, match="wanted a task among semantic, instance, panoptic, got"):
        read_sentence("the task is depth")


def test_cutting_rows_behind_the_last_end_changes_no_feature():
    torch.manual_seed(0)
    encoder = CausalTextEncoder(
        context_length=77, channels=64, num_layers=2, vocabulary_size=49408
    ).eval()
    short, long = "a cat", "a photo with a very long list of words about one cat"
    together = encoder(tokenize([short, long], 77))
    torch.testing.assert_close(together[0], encoder(tokenize([short], 77))[0])
    torch.testing.assert_close(together[0], encoder(tokenize([short], 20))[0])
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_a_text_that_is_longer_than_the_encoder_reads_is_refused():
    encoder = CausalTextEncoder(context_length=6, channels=64, num_layers=1, vocabulary_size=49408)
    assert encoder(tokenize(["a cat"], 20)).shape == (1, 64)  # padding is no text
    with pytest.raises(ValueError, match="a text has 8 tokens, the encoder reads 6"):
        encoder(tokenize(["one cat on a wall here"], 20))
