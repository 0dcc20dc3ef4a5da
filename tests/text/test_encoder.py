from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.text import TextEncoder, build_text_encoder, fingerprint, frozen_fingerprint


class LetterEncoder(TextEncoder):
    """Counts letters: small enough to be checked by hand."""

    context_length, width, dim = 6, 2, 2
    start_ids, end_id, pad_id = (1,), 2, 0

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 2)
        self.dropout = nn.Dropout(0.5)

    def word_ids(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") + 3 for letter in text]

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.table(ids)

    def encode_embeddings(self, embeddings: Tensor, eot_index: Tensor) -> Tensor:
        return self.dropout(embeddings)[torch.arange(len(embeddings)), eot_index - 1]


def test_texts_are_started_ended_padded_and_cut(caplog):
    encoder = LetterEncoder()
    ids = encoder.tokenize(["ab", "", "abcd", "abcdefg"])
    assert ids.tolist() == [
        [1, 3, 4, 2, 0, 0],
        [1, 2, 0, 0, 0, 0],
        [1, 3, 4, 5, 6, 2],
        [1, 3, 4, 5, 6, 2],
    ]
    assert encoder.end_positions(ids).tolist() == [3, 1, 5, 5]
    assert "'abcdefg' has 7 tokens, of which the text encoder can read 4" in caplog.text
    assert len(caplog.records) == 1


def test_features_of_ids_go_through_the_embeddings():
    encoder = LetterEncoder().eval()
    features = encoder(encoder.tokenize(["ab", "abc"]))
    assert torch.equal(features, encoder.table.weight[[4, 5]])


def test_what_follows_the_last_end_is_not_encoded(monkeypatch):
    encoder = LetterEncoder().eval()
    lengths = []
    monkeypatch.setattr(
        encoder, "embed_tokens", lambda ids: lengths.append(ids.shape[1]) or encoder.table(ids)
    )
    encoder(encoder.tokenize(["ab", "abc"]))
    assert lengths == [5]


def test_a_frozen_encoder_stays_in_evaluation_mode():
    model = nn.Sequential(LetterEncoder(), nn.Dropout()).train()
    assert not model[0].training
    assert not model[0].dropout.training
    assert model[1].training


def test_the_identity_follows_the_weights():
    torch.manual_seed(0)
    encoder = LetterEncoder()
    first = encoder.identity
    assert first.startswith("LetterEncoder-")
    assert copy.deepcopy(encoder).identity == first
    with torch.no_grad():
        encoder.table.weight[5, 1] += 1e-6
    second = encoder.identity
    assert second != first
    state = copy.deepcopy(encoder.state_dict())
    state["table.weight"][0] = 0
    encoder.load_state_dict(state)
    assert encoder.identity not in (first, second)


def test_the_identity_follows_the_structure():
    """The same weights under another activation give other features."""

    class Wrapped(LetterEncoder):
        def __init__(self, activation: nn.Module) -> None:
            super().__init__()
            self.activation = activation

    torch.manual_seed(0)
    one = Wrapped(nn.GELU())
    other = Wrapped(nn.ReLU())
    other.load_state_dict(one.state_dict())
    assert fingerprint(one) == fingerprint(other)
    assert one.identity != other.identity


@pytest.mark.parametrize("hashed", [fingerprint, frozen_fingerprint])
def test_weights_of_another_tower_do_not_count(hashed):
    module = nn.ModuleDict({"text": nn.Linear(2, 2), "visual": nn.Linear(2, 2)})
    whole, text = hashed(module), hashed(module, without="visual.")
    with torch.no_grad():
        module["visual"].weight.zero_()
    assert hashed(module, without="visual.") == text
    assert hashed(module) != whole


def test_replaced_tensors_are_noticed():
    module = nn.Linear(2, 2)
    first = frozen_fingerprint(module)
    assert first == fingerprint(module)
    module.weight.data = torch.zeros(2, 2)
    assert frozen_fingerprint(module) != first


def test_frozen_weights_are_hashed_again_only_after_writing():
    module = nn.Linear(2, 2)
    first = frozen_fingerprint(module)
    module.weight.data.neg_()  # which nothing tells
    assert frozen_fingerprint(module) == first
    assert fingerprint(module) != first
    with torch.no_grad():
        module.bias.neg_()
    assert frozen_fingerprint(module) == fingerprint(module)


def test_one_weight_without_a_version_counter_is_enough_to_hash_every_time():
    module = nn.Linear(2, 2)
    with torch.inference_mode():
        module.register_buffer("table", torch.zeros(3))
    first = frozen_fingerprint(module)
    with torch.inference_mode():
        module.table[1] = 1
    assert frozen_fingerprint(module) != first


def test_weights_without_version_counters_are_hashed_every_time():
    with torch.inference_mode():
        module = nn.Linear(2, 2)
        first = frozen_fingerprint(module)
        assert frozen_fingerprint(module) == first
        module.weight.zero_()
        assert frozen_fingerprint(module) != first


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_all_kinds_of_numbers_are_hashed(dtype):
    module = nn.Module()
    module.register_buffer("values", torch.ones(3).to(dtype))
    module.register_buffer("scalar", torch.tensor(1).to(dtype))
    module.register_buffer("empty", torch.ones(0).to(dtype))
    first = fingerprint(module)
    module.values[1] = 0
    assert fingerprint(module) != first


def test_an_unknown_encoder_names_the_known_ones():
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.TEXT_ENCODER.NAME = "word2vec"
    with pytest.raises(
        ValueError, match=r"'word2vec' is unknown; known names are .*minilm, open_c"
    ):
        build_text_encoder(cfg)


def test_weights_of_the_same_bytes_and_another_name_shape_or_type_are_others():
    """The fingerprint is what cached features are found by."""
    plain = torch.arange(6.0)
    weights = {
        "plain": {"a": plain.reshape(2, 3)},
        "renamed": {"b": plain.reshape(2, 3)},
        "reshaped": {"a": plain.reshape(3, 2)},
        "retyped": {"a": plain.reshape(2, 3).view(torch.int32)},
        "changed": {"a": plain.flip(0).reshape(2, 3)},
    }
    found = {}
    for name, tensors in weights.items():
        module = nn.Module()
        for key, tensor in tensors.items():
            module.register_buffer(key, tensor)
        found[name] = frozen_fingerprint(module)
        assert frozen_fingerprint(module) == found[name]
    assert len(set(found.values())) == len(weights)
