"""Our CLIP against open_clip's with the same weights."""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import pytest
import torch

from freeseg.text import CLIP, ClipSpec, load_clip
from freeseg.text.clip import PUBLISHED, BytePairs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_clip import SPEC, tiny_clip

SIZES = ClipSpec(
    embed_dim=24,
    image_size=32,
    patch_size=8,
    vision_width=64,
    vision_layers=2,
    text_width=128,
    text_layers=3,
)


def other_clip(*, quick_gelu: bool):
    open_clip = importlib.import_module("open_clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(
        SIZES.embed_dim,
        {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 64},
        {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 3},
        quick_gelu=quick_gelu,
    )
    return model.eval()


@pytest.mark.parametrize("quick_gelu", [True, False])
@torch.no_grad()
def test_both_towers_equal_open_clips(quick_gelu):
    theirs = other_clip(quick_gelu=quick_gelu)
    state = {key: value for key, value in theirs.state_dict().items() if key != "attn_mask"}
    ours = CLIP(ClipSpec.from_state_dict(state, quick_gelu=quick_gelu)).eval()
    ours.load_state_dict(state)
    assert ours.spec == dataclasses.replace(SIZES, quick_gelu=quick_gelu)
    ids = ours.tokenize(["a red car", "Sky & sea!"])
    images = torch.randn(2, 3, 32, 32)
    assert (ours(ids) - theirs.encode_text(ids)).abs().max() < 1e-5
    assert (ours.encode_image(images) - theirs.encode_image(images)).abs().max() < 1e-5


def test_tokens_are_clips_own_and_long_texts_keep_their_end():
    open_clip = importlib.import_module("open_clip")
    clip = CLIP(dataclasses.replace(SIZES, vision_layers=1, text_layers=1))
    texts = ["traffic light", "A  Photo of\na DOG.", "", "word " * 100]
    assert torch.equal(clip.tokenize(texts), open_clip.tokenize(texts))


def test_what_comes_behind_the_end_changes_nothing():
    clip = tiny_clip()
    ids = clip.tokenize(["cat"])
    other = ids.clone()
    other[0, 10:] = 7
    with torch.no_grad():
        ends = clip.end_positions(ids)
        assert torch.equal(
            clip.encode_embeddings(clip.embed_tokens(ids), ends),
            clip.encode_embeddings(clip.embed_tokens(other), ends),
        )


def test_published_sizes_give_the_published_number_of_weights():
    """151,277,313 and 149,620,737 weights: OpenAI's ViT-B/32 and ViT-B/16."""
    with torch.device("meta"):
        counts = {
            name: sum(weight.numel() for weight in CLIP(PUBLISHED[name]).parameters())
            for name in ("ViT-B/32", "ViT-B/16")
        }
    assert counts == {"ViT-B/32": 151_277_313, "ViT-B/16": 149_620_737}


def test_weights_of_a_file_decide_the_sizes(tmp_path):
    clip = tiny_clip(spec=dataclasses.replace(SPEC, vision_width=64, text_width=64))
    sizes = {"input_resolution": torch.tensor(16), "context_length": torch.tensor(40)}
    torch.save({**clip.state_dict(), **sizes}, tmp_path / "clip.pt")
    loaded = load_clip("ViT-B/16", str(tmp_path / "clip.pt"))
    assert loaded.spec.text_width == 64
    assert loaded.spec.image_size == 16
    assert all(
        torch.equal(clip.state_dict()[key], loaded.state_dict()[key]) for key in clip.state_dict()
    )
    assert not any(weight.requires_grad for weight in loaded.parameters())
    assert math.isclose(float(loaded.logit_scale), math.log(1 / 0.07), rel_tol=1e-6)


def test_wrong_requests_are_named():
    with pytest.raises(ValueError, match=r"one of OpenAI's models .*ViT-B/16.*got 'ViT-X'"):
        load_clip("ViT-X")
    with pytest.raises(ValueError, match="no weights of a CLIP with a ViT image tower"):
        ClipSpec.from_state_dict({"visual.layer1.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"wanted images of \(16, 16\) pixels, got \(8, 8\)"):
        tiny_clip().encode_image(torch.zeros(1, 3, 8, 8))
    assert BytePairs().encode("") == []


def test_the_text_half_alone_gives_the_same_features():
    from freeseg.text import ClipText

    clip = tiny_clip()
    alone = ClipText(clip.spec, clip.tokenizer).eval()
    state = clip.state_dict()
    alone.load_state_dict({key: state[key] for key in alone.state_dict()})
    ids = clip.tokenize(["cat", "a long road"])
    torch.testing.assert_close(alone(ids), clip(ids))
    assert {key.split(".")[0] for key in set(state) - set(alone.state_dict())} == {
        "visual",
        "logit_scale",
    }


def test_text_halves_of_clips_with_a_resnet_have_their_published_sizes():
    from freeseg.text import load_clip_text

    encoder = load_clip_text("RN50x16")
    assert (encoder.dim, encoder.width, encoder.context_length) == (768, 768, 77)
    with pytest.raises(ValueError, match="RN50x16"):
        load_clip_text("RN9000")
