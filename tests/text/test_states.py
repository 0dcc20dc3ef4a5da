"""Token states of every encoder: features come from them, neighbours change nothing."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from freeseg.text import TextEncoder, TextStates, load_minilm, load_toy_clip
from freeseg.text.bert import PACKAGE
from freeseg.text.clip import CLIP
from freeseg.text.open_clip import OpenClipEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_clip import SPEC, tiny_clip

open_clip = importlib.import_module("open_clip")  # after freeseg, which lets torchvision load

TEXTS = ["Red  star", "", "a photo of the blue Heart &amp; sand", "star"]
WORDS = dataclasses.replace(SPEC, context_length=20, vocabulary_size=49408)
IMAGE = {"image_size": 16, "patch_size": 16, "width": 64, "layers": 1, "head_width": 64}
TEXT = {"context_length": 20, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 2}


def of_open_clip(kind=open_clip.CLIP, **text):
    torch.manual_seed(0)
    model = kind(16, IMAGE, {**TEXT, **text}, quick_gelu=True)
    return OpenClipEncoder(model, open_clip.SimpleTokenizer(context_length=20))


def byte_pair_clip():
    torch.manual_seed(0)
    return CLIP(WORDS)


def minilm():
    pytest.importorskip("transformers")
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f"{PACKAGE} is not installed")
    return load_minilm()


ENCODERS = {
    "clip": byte_pair_clip,
    "toy_clip": load_toy_clip,
    "letters": tiny_clip,
    "open_clip": of_open_clip,
    "open_clip custom": lambda: of_open_clip(open_clip.CustomTextCLIP),
    "open_clip class token": lambda: of_open_clip(open_clip.CustomTextCLIP, embed_cls=True),
    "minilm": minilm,
}


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request):
    return ENCODERS[request.param]().requires_grad_(False).eval()


def test_a_row_is_start_words_end_and_padding(encoder):
    states = encoder.states(TEXTS)
    for number, text in enumerate(TEXTS):
        num_words = len(encoder.word_ids(text))
        first = len(encoder.start_ids)
        assert int(states.ends[number]) == first + num_words
        assert states.mask[number].nonzero().flatten().tolist() == [
            *range(first, first + num_words)
        ]
        assert states.is_token[number].sum() == first + num_words + 1
        words = states.spans[number, first : first + num_words]
        assert [tuple(span) for span in words.tolist()] == encoder.word_spans(text)
        assert (states.spans[number][~states.mask[number]] == -1).all()
        assert (states.states[number, first + num_words + 1 :] == 0).all()
    assert states.states.shape == (4, int(states.ends.max()) + 1, encoder.width)


def test_features_are_those_of_forward(encoder):
    assert torch.equal(encoder.states(TEXTS).pooled, encoder(encoder.tokenize(TEXTS)))


def test_longer_neighbours_change_nothing(encoder):
    together = encoder.states(TEXTS)
    for number, text in enumerate(TEXTS):
        alone, row = encoder.states([text]), together.row(number)
        for field in dataclasses.fields(TextStates):
            torch.testing.assert_close(
                getattr(row, field.name), getattr(alone, field.name), atol=1e-5, rtol=1e-5
            )


def test_stacked_rows_are_the_whole(encoder):
    states = encoder.states(TEXTS)
    again = TextStates.stack([states.row(number) for number in range(len(states))])
    for field in dataclasses.fields(TextStates):
        assert torch.equal(getattr(again, field.name), getattr(states, field.name))


@pytest.mark.parametrize("kind", ["clip", "toy_clip", "open_clip", "open_clip custom"])
def test_the_feature_is_the_projected_state_of_the_end_token(kind):
    encoder = ENCODERS[kind]().requires_grad_(False).eval()
    tower = encoder
    if kind.startswith("open_clip"):
        tower = getattr(encoder.model, "text", encoder.model)
    found = encoder.states(TEXTS)
    ends = found.states[torch.arange(len(TEXTS)), found.ends]
    torch.testing.assert_close(ends @ tower.text_projection, found.pooled, atol=1e-6, rtol=0)


def test_the_feature_of_minilm_is_the_mean_of_its_states():
    found = minilm().requires_grad_(False).eval().states(TEXTS)
    mean = found.states.sum(1) / found.is_token.sum(1, keepdim=True)
    torch.testing.assert_close(mean, found.pooled, atol=1e-6, rtol=0)


def test_states_of_a_class_token_tower_are_normed_and_without_the_class_token():
    encoder = of_open_clip(open_clip.CustomTextCLIP, embed_cls=True).requires_grad_(False).eval()
    inputs = []
    tower = encoder.model.text
    hook = tower.transformer.register_forward_hook(lambda *arguments: inputs.append(arguments[-1]))
    ids = encoder.tokenize(TEXTS)
    encoder.model.encode_text(ids)
    hook.remove()
    found = encoder.states(TEXTS)
    wanted = tower.ln_final(inputs[0][:, :20])[:, : found.states.shape[1]]
    assert torch.equal(found.states[found.is_token], wanted[found.is_token])


def test_texts_that_are_too_long_lose_tokens_and_spans_alike(caplog):
    encoder = byte_pair_clip().requires_grad_(False).eval()
    text = "word " * 30
    found = encoder.states([text])
    assert found.mask.sum() == 18
    assert found.spans[0, 1:-1].tolist() == [[5 * n, 5 * n + 4] for n in range(18)]
    assert int(found.ends) == 19
    assert "has 30 tokens" in caplog.text


def test_an_encoder_that_is_trained_has_gradients_of_its_states():
    encoder = byte_pair_clip()
    encoder.states(["cat"]).states[0, 1].sum().backward()
    assert encoder.ln_final.weight.grad.abs().sum() > 0


def test_no_texts_are_refused(encoder):
    with pytest.raises(ValueError, match="one text at least, got none"):
        encoder.states([])


def test_states_that_do_not_fit_are_refused_by_name():
    states = load_toy_clip().states(["star"])
    with pytest.raises(ValueError, match=r"mask of these states must be of shape \(1, 3\)"):
        dataclasses.replace(states, mask=states.mask[:, :2])
    with pytest.raises(ValueError, match=r"pooled of these states must be of shape \(1, 64\)"):
        dataclasses.replace(states, pooled=states.pooled.expand(2, -1))
    with pytest.raises(ValueError, match="one text at least, got none"):
        TextStates.stack([])


class FeaturesOnly(TextEncoder):
    """An encoder of another project, which knows nothing of token states."""

    context_length, width, dim = 6, 2, 2
    start_ids, end_id, pad_id = (1,), 2, 0

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(4, 2)

    def word_ids(self, text):
        return [3] * len(text)

    def embed_tokens(self, ids):
        return self.table(ids)

    def encode_embeddings(self, embeddings, eot_index):
        return embeddings[torch.arange(len(embeddings)), eot_index]


def test_an_encoder_without_states_says_so(monkeypatch):
    encoder = FeaturesOnly()
    with pytest.raises(NotImplementedError, match="FeaturesOnly has no spans of tokens"):
        encoder.states(["a"])
    monkeypatch.setattr(encoder, "word_spans", lambda text: [(0, 1)] * len(text))
    with pytest.raises(NotImplementedError, match="FeaturesOnly has no token states"):
        encoder.states(["a"])
