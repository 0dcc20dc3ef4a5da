"""Towers and tokenizers of Hugging Face inside open_clip; the toy CLIP as one of its own."""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.text import build_text_encoder, load_open_clip, load_toy_clip
from freeseg.text.open_clip import OpenClipEncoder
from freeseg.text.toy_clip import SPECIAL, WordTokenizer, new_toy_clip, save_toy_clip

# after freeseg, which lets torchvision load
open_clip = importlib.import_module("open_clip")
TEXTS = ["cat", "a red  CAR", "", "dog cat dog cat dog cat dog cat dog", "unseen cat"]
WORDS = ["<s>", "<pad>", "</s>", "<unk>", "a", "cat", "dog", "red", "car", "A", "CAR", "Cat"]
VISION = {"image_size": [32, 48], "layers": 1, "width": 64, "patch_size": 16}


@pytest.fixture(scope="module")
def roberta(tmp_path_factory) -> Path:
    """A text model and a tokenizer of words in Hugging Face's layout."""
    transformers = pytest.importorskip("transformers")
    tokenizers = importlib.import_module("tokenizers")
    folder = tmp_path_factory.mktemp("roberta")
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", sep_token="</s>",
        cls_token="<s>", pad_token="<pad>", unk_token="<unk>",
    ).save_pretrained(folder)  # fmt: skip
    transformers.RobertaConfig(
        vocab_size=len(WORDS), hidden_size=48, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=64, max_position_embeddings=40, pad_token_id=1, bos_token_id=0,
        eos_token_id=2,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def with_tower(folder: Path, roberta: Path, **changes) -> str:
    text = {
        "hf_model_name": str(roberta),
        "hf_tokenizer_name": str(roberta),
        "hf_model_pretrained": False,
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
        "context_length": 9,
        **changes,
    }
    for file in roberta.glob("*token*"):  # open_clip looks for them there
        shutil.copy(file, folder)
    config = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": text, "custom_text": True}
    content = json.dumps({"model_cfg": config, "preprocess_cfg": {"std": [0.5, 0.25, 0.2]}})
    (folder / "open_clip_config.json").write_text(content)
    return f"local-dir:{folder}"


@torch.no_grad()
@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
def test_a_tower_of_hugging_faces_is_encoded_as_by_open_clip(tmp_path, roberta, clean):
    name = with_tower(tmp_path, roberta, tokenizer_kwargs={"clean": clean})
    torch.manual_seed(3)
    encoder = load_open_clip(name).eval()
    ids = encoder.tokenize(TEXTS)
    assert torch.equal(ids, open_clip.get_tokenizer(name)(TEXTS))
    expected = encoder.model.encode_text(ids)
    torch.testing.assert_close(encoder(ids), expected)
    alone = torch.cat([encoder(encoder.tokenize([text])) for text in TEXTS])
    torch.testing.assert_close(alone, expected)
    assert len(expected.round(decimals=4).unique(dim=0)) == 5, "texts differ"
    assert (encoder.dim, encoder.width, encoder.context_length) == (24, 48, 9)
    assert (encoder.start_ids, encoder.end_id, encoder.pad_id) == ((0,), 2, 1)


@torch.no_grad()
@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
def test_states_of_a_tower_of_hugging_faces_are_what_its_features_are_made_of(
    tmp_path, roberta, clean
):
    encoder = load_open_clip(with_tower(tmp_path, roberta, tokenizer_kwargs={"clean": clean}))
    found = encoder.eval().states(TEXTS)
    assert torch.equal(found.pooled, encoder(encoder.tokenize(TEXTS)))
    mean = found.states.sum(1) / found.is_token.sum(1, keepdim=True)
    projected = encoder.model.text.proj(mean)
    torch.testing.assert_close(projected, found.pooled, atol=1e-6, rtol=0)
    assert found.spans[1, 1:4].tolist() == [[0, 1], [2, 5], [7, 10]], "of 'a red  CAR'"
    plain = {span for span in encoder.word_spans("&lt;a cat") if span != (-1, -1)}
    assert max(plain) == (6, 9)


@torch.no_grad()
def test_weights_of_a_tower_of_hugging_faces_are_read_from_a_file(tmp_path, roberta):
    name = with_tower(tmp_path, roberta)
    torch.manual_seed(5)
    source = load_open_clip(name)
    torch.save(source.model.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(6)
    cfg = get_cfg()
    add_freeseg_config(cfg)
    node = cfg.MODEL.TEXT_ENCODER
    node.NAME, node.MODEL, node.WEIGHTS = "open_clip", name, str(tmp_path / "weights.pt")
    encoder = build_text_encoder(cfg)
    ids = encoder.tokenize(TEXTS)
    assert torch.equal(encoder(ids), source(ids))


@pytest.mark.parametrize(
    ("name", "tag", "is_quick"),
    [("ViT-B/32", "openai", True), ("ViT-B-32", "laion2b_e16", False), ("ViT-B/16", "", False)],
)
def test_a_pretraining_says_which_activation_it_needs(monkeypatch, name, tag, is_quick):
    asked = []

    def create_model(*arguments, **options):
        asked.append((arguments, options))
        raise OSError("enough")

    monkeypatch.setattr(open_clip, "create_model", create_model)
    with pytest.raises(ValueError, match="enough"):
        load_open_clip(name, tag)
    options = {"pretrained": tag or None, "pretrained_text": False, "force_quick_gelu": is_quick}
    assert asked == [((name,), options)]


def test_pictures_may_be_wider_than_high_and_have_their_own_deviation(tmp_path, roberta):
    encoder = load_open_clip(with_tower(tmp_path, roberta))
    assert encoder.image_size == (32, 48)
    with torch.no_grad():
        found = encoder.encode_image(torch.randn(2, 3, 32, 48))
    assert found.shape == (2, 24)
    assert not torch.allclose(found.norm(dim=-1), torch.ones(2)), "features are not normalised"


class _Wrapped:
    """As open_clip wraps a tokenizer whose separator its tower does not read."""

    def __init__(self, tokenizer, strips) -> None:
        self.tokenizer, self.context_length = tokenizer, 9
        self.clean_fn, self.strip_sep_token = str.lower, strips


@pytest.mark.parametrize("strips", [True, False])
def test_a_separator_that_is_stripped_is_the_number_0(roberta, strips):
    from freeseg.text.open_clip import _words_of

    tokenizer = importlib.import_module("transformers").AutoTokenizer.from_pretrained(roberta)
    words = _words_of(_Wrapped(tokenizer, strips))
    assert (words.start_ids, words.end_id) == ((0,), 0 if strips else 2)
    assert words("a Cat dog") == [4, 5, 6]


def test_a_tokenizer_that_cleans_nothing_itself_is_cleaned_for_as_siglips(roberta):
    from freeseg.text.open_clip import _words_of

    tokenizer = importlib.import_module("transformers").AutoTokenizer.from_pretrained(roberta)
    wrapped = _Wrapped(tokenizer, strips=False)
    wrapped.clean_fn = None
    assert _words_of(wrapped)("A  Cat, &amp;dog!") == [4, 5, 6]


def test_tokenizers_that_have_no_place_for_prompts_are_refused():
    from freeseg.text.open_clip import _words_of

    tokenizer = open_clip.SimpleTokenizer()
    tokenizer.tokenizer_mode = "random"
    with pytest.raises(ValueError, match="tokenizer mode 'random' is not supported"):
        _words_of(tokenizer)


# statistics of pictures


class _Bare(torch.nn.Module):
    """A model of open_clip whose image tower does not say how pictures are normalised."""

    def __init__(self, model) -> None:
        super().__init__()
        self.text, self.logit_scale = model, model.logit_scale
        self.visual = torch.nn.Identity()
        self.visual.image_size = 24

    def encode_text(self, ids, normalize=False):
        return self.text.encode_text(ids, normalize=normalize)


def test_pictures_are_normalised_as_openais_where_a_tower_does_not_say():
    small = {"image_size": 16, "patch_size": 16, "width": 64, "layers": 1, "head_width": 64}
    model = open_clip.CLIP(8, small, {"context_length": 12, "width": 64, "heads": 1, "layers": 1})
    tokenizer = open_clip.SimpleTokenizer(context_length=12)
    encoder = OpenClipEncoder(_Bare(model), tokenizer)
    assert encoder.image_size == (24, 24)
    assert encoder.pixel_mean == open_clip.OPENAI_DATASET_MEAN
    assert encoder.pixel_std == open_clip.OPENAI_DATASET_STD


# the toy CLIP


def as_open_clips(toy):
    """open_clip's model with the toy's weights."""
    text = {"context_length": 64, "vocab_size": len(toy.tokenizer), "width": 64, "heads": 2}
    text |= {"layers": 2, "pool_type": "eos", "eos_id": WordTokenizer.end_id}
    image = {"image_size": 32, "patch_size": 8, "width": 96, "layers": 3, "head_width": 32}
    theirs = open_clip.CLIP(64, image, text, quick_gelu=False).eval()
    theirs.load_state_dict(toy.state_dict(), strict=True)
    return theirs


@torch.no_grad()
def test_the_toy_is_a_clip_of_open_clip():
    if "eos_id" not in inspect.signature(open_clip.model.CLIPTextCfg).parameters:
        pytest.skip("this open_clip cannot be told the end of a text")
    torch.manual_seed(0)
    toy = load_toy_clip()
    theirs = as_open_clips(toy)
    ids = toy.tokenize(["red star", "a photo of the sand.", ""])
    torch.testing.assert_close(toy(ids), theirs.encode_text(ids), rtol=1e-4, atol=1e-4)
    images = torch.randn(3, 3, 32, 32)
    found = toy.encode_image(images)
    torch.testing.assert_close(found, theirs.encode_image(images), rtol=1e-4, atol=1e-4)


def test_special_tokens_come_before_the_words():
    tokenizer = WordTokenizer(["star", "red"])
    assert SPECIAL == ("<pad>", "<start>", "<end>", "<unknown>")
    assert (tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id) == (1, 2, 3)
    assert tokenizer.encode("Red STAR red") == [5, 4, 5]
    assert tokenizer.encode_known(["star", "moon"]) == [4, 3]
    assert WordTokenizer.split("A2-b_c  été!") == ["a", "2", "-", "b", "_", "c", "été", "!"]
    toy = new_toy_clip(["star", "red"])
    ids = toy.tokenize(["red star"])[0]
    assert ids[:5].tolist() == [1, 5, 4, 2, 0]
    assert not ids[4:].any()


def test_a_saved_toy_says_what_it_is_and_comes_back_in_half_precision(tmp_path):
    torch.manual_seed(1)
    toy, path = new_toy_clip(["star", "red"]), tmp_path / "toy.safetensors"
    save_toy_clip(toy, path, "made for a test")
    with importlib.import_module("safetensors").safe_open(path, framework="pt") as file:
        about = file.metadata()
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert about["about"] == "made for a test"
    assert json.loads(about["words"]) == ["star", "red"]
    again = load_toy_clip(path)
    assert again.tokenizer.words == ("star", "red")
    state = toy.state_dict()
    assert all(
        torch.equal(value, state[key].half().float()) for key, value in again.state_dict().items()
    )
    toy.tokenizer = None
    with pytest.raises(TypeError, match="a toy CLIP has a WordTokenizer"):
        save_toy_clip(toy, path, "")
