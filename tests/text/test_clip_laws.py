"""Sizes, start values, limits of length and files of CLIP, against open_clip's and loops."""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.systems.oneformer.text_encoder import CausalTextEncoder
from freeseg.text import (
    CLIP,
    ClipSpec,
    ClipText,
    build_text_encoder,
    load_clip,
    tokenize,
)
from freeseg.text import clip as module
from freeseg.text.clip import PUBLISHED, TEXT_ALONE, load_clip_text
from freeseg.text.weights import is_openai_format, read_state_dict

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_clip import SPEC, Letters, tiny_clip

# after freeseg, which lets torchvision load
open_clip = importlib.import_module("open_clip")
OPEN_CLIPS = {"ViT-L/14@336px": "ViT-L-14-336"}  # where the name is not OpenAI's with a dash


def published(name: str) -> dict:
    return open_clip.get_model_config(OPEN_CLIPS.get(name, name.replace("/", "-")))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_open_clips(name):
    config, spec = published(name), PUBLISHED[name]
    image, text = config["vision_cfg"], config["text_cfg"]
    assert spec == ClipSpec(
        embed_dim=config["embed_dim"],
        image_size=image["image_size"],
        patch_size=image["patch_size"],
        vision_width=image["width"],
        vision_layers=image["layers"],
        text_width=text["width"],
        text_layers=text["layers"],
        context_length=text["context_length"],
        vocabulary_size=text["vocab_size"],
    )
    assert spec.text_width // module.HEAD_WIDTH == text["heads"]
    assert spec.quick_gelu, "as OpenAI's weights were trained"


@pytest.mark.parametrize("name", TEXT_ALONE)
def test_published_sizes_of_text_halves_are_open_clips(name):
    config, spec = published(name), TEXT_ALONE[name]
    text = config["text_cfg"]
    assert (spec.embed_dim, spec.image_size) == (
        config["embed_dim"],
        config["vision_cfg"]["image_size"],
    )
    assert (spec.text_width, spec.text_layers) == (text["width"], text["layers"])
    assert (spec.context_length, spec.vocabulary_size) == (
        text["context_length"],
        text["vocab_size"],
    )
    assert spec.text_width // module.HEAD_WIDTH == text["heads"]
    assert spec.vision_width == spec.vision_layers == 0, "there is no such image half"


WIDE = ClipSpec(
    embed_dim=160,
    image_size=48,
    patch_size=8,
    vision_width=256,
    vision_layers=2,
    text_width=192,
    text_layers=3,
    context_length=20,
    vocabulary_size=500,
)


def expected_deviations() -> dict[str, float]:
    """OpenAI's `initialize_parameters`; blocks of the image half as those of the text half."""
    deviations = {
        "token_embedding.weight": 0.02,
        "positional_embedding": 0.01,
        "text_projection": 192**-0.5,
        "visual.class_embedding": 256**-0.5,
        "visual.positional_embedding": 256**-0.5,
        "visual.proj": 256**-0.5,
    }
    for prefix, width, layers in (("", 192, 3), ("visual.", 256, 2)):
        for block in range(layers):
            stem = f"{prefix}transformer.resblocks.{block}"
            residual = width**-0.5 * (2 * layers) ** -0.5
            deviations[f"{stem}.attn.in_proj_weight"] = width**-0.5
            deviations[f"{stem}.attn.out_proj.weight"] = residual
            deviations[f"{stem}.mlp.c_fc.weight"] = (2 * width) ** -0.5
            deviations[f"{stem}.mlp.c_proj.weight"] = residual
    return deviations


def test_start_values_are_openais():
    torch.manual_seed(0)
    state = CLIP(WIDE, Letters()).state_dict()
    for name, deviation in expected_deviations().items():
        tolerance = 0.2 if state[name].numel() < 1000 else 0.06
        assert state[name].std().item() == pytest.approx(deviation, rel=tolerance), name
        assert abs(state[name].mean().item()) < 0.25 * deviation, name
    assert float(state["logit_scale"]) == pytest.approx(math.log(1 / 0.07))
    torch.manual_seed(0)
    alone = ClipText(WIDE, Letters()).state_dict()
    assert alone["token_embedding.weight"].std().item() == pytest.approx(0.02, rel=0.06)
    causal = CausalTextEncoder(context_length=30, channels=64, num_layers=1, vocabulary_size=300)
    state = causal.state_dict()
    assert state["positional_embedding"].std().item() == pytest.approx(0.01, rel=0.1)
    assert state["token_embedding.weight"].std().item() == pytest.approx(0.02, rel=0.1)


def test_normalisation_of_pictures_is_openais():
    assert CLIP.pixel_mean == open_clip.OPENAI_DATASET_MEAN
    assert CLIP.pixel_std == open_clip.OPENAI_DATASET_STD


# the encoder that is trained


def same_encoders(context_length: int):
    """open_clip's text tower without its projection, and ours with its weights."""
    torch.manual_seed(2)
    theirs = open_clip.CLIP(
        128,
        {"image_size": 16, "patch_size": 16, "width": 64, "layers": 1, "head_width": 64},
        {"context_length": context_length, "width": 128, "heads": 2, "layers": 2},
        quick_gelu=True,
    ).eval()
    theirs.text_projection.data = torch.eye(128)
    ours = CausalTextEncoder(
        context_length=context_length, channels=128, num_layers=2, vocabulary_size=49408
    ).eval()
    state = theirs.state_dict()
    with torch.no_grad():  # start values give all texts nearly one feature
        state["token_embedding.weight"].mul_(30)
    ours.load_state_dict({key: state[key] for key in ours.state_dict()})
    return theirs, ours


@torch.no_grad()
def test_features_of_the_trained_encoder_are_those_of_open_clip():
    theirs, ours = same_encoders(12)
    texts = ["a cat", "the task is panoptic", "one two three four five six seven eight nine ten"]
    ids = tokenize(texts, 12)
    assert int(ids.argmax(1).max()) == 11, "the last text is as long as it may be"
    found, expected = ours(ids), theirs.encode_text(ids)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert min((found[a] - found[b]).abs().max() for a, b in ((0, 1), (1, 2), (0, 2))) > 0.1
    with pytest.raises(ValueError, match="a text has 13 tokens, the encoder reads 12"):
        ours(tokenize(["one two three four five six seven eight nine ten eleven"], 13))


@pytest.mark.parametrize("num_words", [9, 10, 11, 0])
def test_a_text_of_just_the_room_is_whole_and_of_a_longer_one_the_start(num_words):
    text = " ".join(["cat", "dog", "sky", "sea", "red", "car"] * 2).rsplit(" ", 12 - num_words)[0]
    text *= num_words > 0
    ids = tokenize([text, "a"], 12)
    assert torch.equal(ids, open_clip.SimpleTokenizer()([text, "a"], context_length=12))
    assert ids[0].argmax() == min(num_words, 10) + 1


# files


def test_sizes_that_no_weight_shows_may_be_given():
    state = tiny_clip().state_dict()
    spec = ClipSpec.from_state_dict(state, text_heads=2, vision_heads=2, quick_gelu=False)
    assert spec == dataclasses.replace(SPEC, quick_gelu=False)
    wide = CLIP(dataclasses.replace(SPEC, vision_layers=3, text_layers=2, image_size=40), Letters())
    read = ClipSpec.from_state_dict(wide.state_dict(), text_heads=2, vision_heads=2)
    assert read == wide.spec


@pytest.mark.parametrize("key", ["visual.conv1.weight", "visual.proj"])
def test_weights_without_a_half_of_an_image_tower_are_refused(key):
    state = tiny_clip().state_dict()
    del state[key]
    with pytest.raises(ValueError, match="no weights of a CLIP with a ViT image tower"):
        ClipSpec.from_state_dict(state)


@pytest.fixture
def text_alone(monkeypatch):
    """Small sizes under a published name."""
    monkeypatch.setitem(module.TEXT_ALONE, "RN50", SPEC)


@pytest.mark.parametrize("form", ["whole", "sizes", "half"])
def test_a_text_half_is_read_out_of_the_file_of_a_whole(tmp_path, text_alone, form):
    state = tiny_clip(3).state_dict()
    if form == "sizes":
        state["input_resolution"] = torch.tensor(16)
        state["visual.attnpool.k_proj.bias"] = torch.ones(3)
    if form == "half":
        state = {key: value.half() for key, value in state.items()}
    torch.save(state, tmp_path / "a.pt")
    encoder = load_clip_text("RN50", str(tmp_path / "a.pt"))
    found = encoder.state_dict()
    assert all(torch.equal(value, state[key].float()) for key, value in found.items())
    assert "logit_scale" not in found
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert not encoder.training


@pytest.mark.parametrize("damage", ["missing", "reshaped", "transposed"])
def test_a_file_without_this_text_half_is_refused(tmp_path, text_alone, damage):
    state = dict(tiny_clip().state_dict())
    value = state.pop("text_projection")
    if damage != "missing":
        state["text_projection"] = value[:, :-1] if damage == "reshaped" else value.T
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt has no text half of CLIP RN50"):
        load_clip_text("RN50", str(tmp_path / "a.pt"))


def test_models_without_weights_are_random_frozen_and_of_their_sizes(monkeypatch, text_alone):
    monkeypatch.setitem(module.PUBLISHED, "ViT-B/32", SPEC)
    for model in (load_clip("ViT-B/32"), load_clip_text("RN50"), load_clip_text("ViT-B/32")):
        assert model.spec == SPEC
        assert not any(weight.requires_grad for weight in model.parameters())
        assert not model.training


@pytest.mark.parametrize("kind", ["clip", "clip_text"])
def test_the_configuration_names_the_model_and_its_weights(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(module.PUBLISHED, "ViT-B/32", SPEC)
    # the heads of a whole CLIP follow from its widths
    state = tiny_clip(4, WIDE if kind == "clip" else SPEC).state_dict()
    torch.save(state, tmp_path / "a.pt")
    cfg = get_cfg()
    add_freeseg_config(cfg)
    node = cfg.MODEL.TEXT_ENCODER
    node.NAME, node.MODEL, node.WEIGHTS = kind, "ViT-B/32", str(tmp_path / "a.pt")
    found = build_text_encoder(cfg).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    node.MODEL = "ViT-X"
    with pytest.raises(ValueError, match=r"wanted one of OpenAI's models .*, got 'ViT-X'"):
        build_text_encoder(cfg)


def test_an_image_of_one_patch_has_its_size():
    spec = dataclasses.replace(SPEC, image_size=8)
    state = CLIP(spec, Letters()).state_dict()
    assert ClipSpec.from_state_dict(state, text_heads=2, vision_heads=2) == spec


def test_floats_are_read_at_full_precision_and_counts_as_they_are(tmp_path):
    state = {
        "half": torch.tensor([0.5, 1.25]).half(),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "count": torch.tensor(7),
        "flag": torch.tensor([1], dtype=torch.int32),
    }
    torch.save(state, tmp_path / "a.pt")
    found = read_state_dict(tmp_path / "a.pt")
    assert {key: value.dtype for key, value in found.items()} == {
        "half": torch.float32,
        "double": torch.float32,
        "count": torch.int64,
        "flag": torch.float32,
    }
    assert found["half"].tolist() == [0.5, 1.25]
    assert not is_openai_format(found)
    assert is_openai_format({"input_resolution": torch.tensor(224)})
    assert not is_openai_format({"context_length": torch.tensor(77)})
