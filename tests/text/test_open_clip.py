from __future__ import annotations

import importlib
import json
import threading

import pytest
import torch

from freeseg.text import load_open_clip

open_clip = importlib.import_module("open_clip")  # after freeseg, which lets torchvision load

TEXTS = ["a photo of a cat", "car", "🚗 and 猫", "", "word " * 100]
SMALL = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
CUSTOM = {**SMALL, "custom_text": True}
# a bidirectional tower with padding masked, as CoCa's and others
PADDED = {
    **CUSTOM,
    "text_cfg": {**SMALL["text_cfg"], "embed_cls": True, "context_length": 20},
}
LAST = {
    **CUSTOM,
    "text_cfg": {**SMALL["text_cfg"], "no_causal_mask": True, "pool_type": "last"},
}


def folder(path, config, **preprocess) -> str:
    path.mkdir(exist_ok=True)
    content = {"model_cfg": config, "preprocess_cfg": preprocess}
    (path / "open_clip_config.json").write_text(json.dumps(content))
    return f"local-dir:{path}"


@pytest.mark.parametrize(
    "config", [SMALL, CUSTOM, PADDED, LAST], ids=["plain", "custom", "padded", "last"]
)
def test_texts_are_encoded_as_open_clip_does(tmp_path, config):
    name = folder(tmp_path, config)
    encoder = load_open_clip(name).eval()
    ids = encoder.tokenize(TEXTS)
    assert torch.equal(ids, open_clip.get_tokenizer(name)(TEXTS))
    with torch.no_grad():
        expected = encoder.model.encode_text(ids)
        assert torch.equal(encoder(ids), expected)
        # a prefix without the padding gives the same
        longest = int(encoder.end_positions(ids[:3]).max()) + 1
        short = encoder.embed_tokens(ids[:3, :longest])
        features = encoder.encode_embeddings(short, encoder.end_positions(ids[:3]))
    torch.testing.assert_close(features, expected[:3])
    assert (encoder.dim, encoder.width) == (32, 64)


def test_images_are_encoded_as_open_clip_does(tmp_path):
    encoder = load_open_clip(folder(tmp_path, SMALL)).eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder.encode_image(images), encoder.model.encode_image(images))
    assert encoder.image_size == (32, 32)
    assert encoder.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert encoder.pixel_mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_gradients_reach_the_embeddings(tmp_path):
    encoder = load_open_clip(folder(tmp_path, SMALL)).requires_grad_(False).eval()
    ids = encoder.tokenize(["cat"])
    embeddings = encoder.embed_tokens(ids).requires_grad_()
    encoder.encode_embeddings(embeddings, encoder.end_positions(ids)).sum().backward()
    strength = embeddings.grad[0].abs().sum(1)
    assert (strength[:3] > 0).all()
    assert (strength[3:] == 0).all(), "the tower is causal"


def test_threads_do_not_mix_their_embeddings(tmp_path):
    encoder = load_open_clip(folder(tmp_path, SMALL)).requires_grad_(False).eval()
    texts = [["cat"], ["dog"], ["red car"], ["sky"]]
    expected = [encoder(encoder.tokenize(text)) for text in texts]
    found: dict[int, bool] = {}

    def work(number: int) -> None:
        ids = encoder.tokenize(texts[number])
        found[number] = all(torch.equal(encoder(ids), expected[number]) for _ in range(5))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)


class Archive(torch.nn.Module):
    """What OpenAI publishes: a TorchScript archive with half-precision weights and sizes."""

    def __init__(self, state) -> None:
        super().__init__()
        for key, value in state.items():
            parts = key.split(".")
            module = self
            for part in parts[:-1]:
                if not hasattr(module, part):
                    module.add_module(part, torch.nn.Module())
                module = getattr(module, part)
            module.register_buffer(parts[-1], value.half())
        for key, value in (("input_resolution", 32), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(key, torch.tensor(value))

    def forward(self, x):
        return x


@pytest.mark.parametrize("form", ["open_clip", "training", "safetensors", "openai"])
def test_weights_of_every_published_form(tmp_path, form):
    torch.manual_seed(1)
    source = open_clip.create_model(folder(tmp_path / "a", SMALL), load_weights=False)
    state = source.state_dict()
    path = tmp_path / "weights.pt"
    if form == "open_clip":
        torch.save(state, path)
    elif form == "training":
        prefixed = {f"module.{key}": value for key, value in state.items()}
        torch.save({"epoch": 3, "name": "run", "state_dict": prefixed}, path)
    elif form == "safetensors":
        from safetensors.torch import save_file

        path = tmp_path / "weights.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.jit.script(Archive(state)).save(str(path))
    config = {**SMALL, "quick_gelu": form != "openai"}  # OpenAI's weights ask for it themselves
    encoder = load_open_clip(folder(tmp_path / "b", config), str(path)).eval()
    ids = encoder.tokenize(TEXTS)
    with torch.no_grad():
        expected = source.eval().encode_text(ids)
    tolerance = 5e-3 if form == "openai" else 0.0
    torch.testing.assert_close(encoder(ids).detach(), expected, atol=tolerance, rtol=0.0)


def test_weights_go_into_the_other_layout(tmp_path):
    source = open_clip.create_model(folder(tmp_path / "a", SMALL), load_weights=False)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    encoder = load_open_clip(folder(tmp_path / "b", CUSTOM), str(tmp_path / "weights.pt")).eval()
    ids = encoder.tokenize(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(encoder(ids), source.eval().encode_text(ids))


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"cannot make open_clip's model .*weights.pt"):
        load_open_clip(folder(tmp_path / "a", SMALL), str(tmp_path / "weights.pt"))


def test_an_unknown_model_or_pretraining_is_named():
    with pytest.raises(ValueError, match=r"model ViT-Z-99: .*not found"):
        load_open_clip("ViT-Z-99")
    with pytest.raises(
        ValueError, match=r"'imagenet' is neither a file nor a pretraining .*openai"
    ):
        load_open_clip("ViT-B-32", "imagenet")


def test_a_pretraining_that_cannot_be_downloaded_says_what_to_do(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.factory.download_pretrained", refuse)
    with pytest.raises(ValueError, match=r"openai.*no route to host.*MODEL.TEXT_ENCODER.WEIGHTS"):
        load_open_clip("ViT-B-32-quickgelu", "openai")
