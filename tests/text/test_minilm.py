from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from torch.nn import functional as F

from freeseg.text import load_minilm
from freeseg.text.bert import PACKAGE

pytest.importorskip("transformers")
if importlib.util.find_spec(PACKAGE) is None:
    pytest.skip(f"{PACKAGE} is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def encoder():
    return load_minilm().requires_grad_(False).eval()


def test_features_are_those_of_sentence_transformers(encoder):
    """By its published recipe: Hugging Face's model, mean over the attended tokens."""
    from pathlib import Path

    from transformers import AutoTokenizer, BertModel

    texts = ["car", "a person on a bicycle", "traffic light", "word " * 300]
    source = Path(importlib.util.find_spec(PACKAGE).origin).with_name("model")
    batch = AutoTokenizer.from_pretrained(source)(
        texts, padding=True, truncation=True, max_length=128, return_tensors="pt"
    )
    with torch.no_grad():
        states = BertModel.from_pretrained(source).eval()(**batch).last_hidden_state
    weights = batch.attention_mask[..., None].float()
    expected = (states * weights).sum(1) / weights.sum(1)
    torch.testing.assert_close(encoder(encoder.tokenize(texts)), expected, atol=1e-5, rtol=1e-4)


def test_words_that_were_never_labels_are_near_to_what_they_mean(encoder):
    labels = ["car", "bicyclist", "pavement", "tree"]
    queries = ["automobile", "cyclist", "sidewalk", "oak"]
    features = [
        F.normalize(encoder(encoder.tokenize(texts)), dim=-1) for texts in (queries, labels)
    ]
    assert (features[0] @ features[1].T).argmax(1).tolist() == [0, 1, 2, 3]


def test_padding_changes_nothing(encoder):
    ids = encoder.tokenize(["traffic light", "car"])
    whole = encoder.encode_embeddings(encoder.embed_tokens(ids), encoder.end_positions(ids))
    torch.testing.assert_close(encoder(ids), whole, atol=1e-5, rtol=0)


def test_what_it_cannot_read_is_warned_about(encoder, caplog):
    encoder.tokenize(["🚗"])
    assert "does not know" in caplog.text


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no folder of a Hugging Face model"):
        load_minilm(str(tmp_path))


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ImportError, match=r"freeseg\[minilm\]"):
        load_minilm()


def test_missing_transformers_name_the_extra(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"minilm needs transformers: .*freeseg\[minilm\]"):
        load_minilm(str(tmp_path))
