"""SegGPT beside Hugging Face's port with the same random weights, and folders of the port."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from freeseg import Segmenter
from freeseg.checkpoints import (
    KEY_MAPS,
    config_from_hugging_face,
    detect_system,
    read_checkpoint,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from hugging_face_ports import load_port
from small_inputs import picture

SIDE = 32
SIZES = {
    "as published": {"merge_index": 1, "intermediate_hidden_state_indices": [2, 3]},
    "no bias, narrow": {
        **{"merge_index": 0, "intermediate_hidden_state_indices": [1, 2, 3]},
        **{"qkv_bias": False, "mlp_dim": 24, "decoder_hidden_size": 4},
    },
}


class _AtLeast(int):
    """Mends the port, which averages the two streams together in the block before they are one."""

    __gt__ = int.__ge__


def save_port(folder, **changes):
    """A port of random weights."""
    transformers = pytest.importorskip("transformers", "5")
    torch.manual_seed(0)
    sizes = {
        **{"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "patch_size": 8},
        **{"image_size": [2 * SIDE, SIDE], "pretrain_image_size": 24, "decoder_hidden_size": 8},
    }
    port = transformers.SegGptForImageSegmentation(
        transformers.SegGptConfig(**{**sizes, **changes})
    ).eval()
    with torch.no_grad():
        for parameter in port.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    port.save_pretrained(folder)
    return port


def squares(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def painted(model, photos, targets, query, kind):
    """As the release has it: the first pixel row sees the first example."""
    network = model.network
    stream = network.target_stream(targets, kind)
    seen = network.photo_stream(network.patches(photos), network.patches(query[None]), kind)
    taps = network.after_merge(network.merged(stream, seen), upper_rows=1)
    return network.decode(taps.lower[:, 0], taps.upper[:, 0, -1])[0]


@torch.inference_mode()
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("changes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize(("kind", "name"), [(0, "semantic"), (1, "instance")])
def test_paintings_are_the_ports(tmp_path, changes, count, kind, name):
    port, model = save_port(tmp_path, **changes), load_port(tmp_path)
    photos, targets, query = squares(count, 1), squares(count, 2), squares(1, 3)
    if count > 1:
        port.model.encoder.config.merge_index = _AtLeast(port.config.merge_index)
    theirs = port(
        pixel_values=query.expand_as(photos),
        prompt_pixel_values=photos,
        prompt_masks=targets,
        feature_ensemble=count > 1,
        embedding_type=name,
    ).pred_masks[0, :, SIDE:]
    ours = painted(model, photos, targets, query, kind)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", SIZES.values(), ids=SIZES)
def test_names_go_both_ways(tmp_path, changes):
    """Every weight has one name on each side: a port is filled from our state dict again."""
    port = save_port(tmp_path, **changes)
    model, theirs = load_port(tmp_path), read_checkpoint(tmp_path / "model.safetensors")
    assert detect_system(theirs) == "hf-seggpt"
    converted = KEY_MAPS["hf-seggpt"].convert(theirs).state
    assert set(converted) == set(model.state_dict())
    assert detect_system(model.state_dict()) == "seggpt"
    names = {id(value): name for name, value in theirs.items()}
    back = {names[id(value)]: model.state_dict()[name] for name, value in converted.items()}
    assert all(torch.equal(value, theirs[name]) for name, value in back.items())
    port.load_state_dict(back)


def test_a_folder_of_the_port_follows_examples(tmp_path):
    save_port(tmp_path, **SIZES["as published"])
    segmenter = Segmenter.from_pretrained(str(tmp_path), device="cpu")
    assert segmenter.tasks == ("object",)
    photo = picture(50, 70)["image"].permute(1, 2, 0).numpy()
    found = segmenter.open(photo)(examples=(photo, {"sky": photo[..., 0] > 100}))
    assert found.objects.masks.shape == (1, 50, 70)
    assert found.objects.names == ("sky",)


def test_what_a_folder_leaves_out_are_the_ports_defaults(tmp_path):
    transformers = pytest.importorskip("transformers", "5")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "seggpt"}))
    cfg, port = config_from_hugging_face(tmp_path), transformers.SegGptConfig()
    node = cfg.MODEL.SEGGPT
    assert (port.hidden_size, port.num_hidden_layers) == (node.EMBED_DIM, node.DEPTH)
    assert (port.num_attention_heads, port.qkv_bias) == (node.NHEADS, node.QKV_BIAS)
    assert tuple(port.image_size) == (2 * node.IMAGE_SIZE, node.IMAGE_SIZE)
    assert port.mlp_dim == node.MLP_RATIO * node.EMBED_DIM
    assert port.pretrain_image_size == node.PRETRAIN_GRID * node.PATCH_SIZE
    assert port.merge_index == node.MERGE_BLOCK
    assert list(port.intermediate_hidden_state_indices) == node.TAPS
    assert (port.decoder_hidden_size, port.drop_path_rate) == (node.DECODER_DIM, node.DROP_PATH)
    assert port.layer_norm_eps == node.NORM_EPS
    assert list(cfg.INPUT.TEST_RESIZE.SIZE) == [node.IMAGE_SIZE] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": [64, 48]}, "image_size is 64 x 48: a canvas is two squares"),
        ({"use_relative_position_embeddings": False}, "use_relative_position_embeddings is false"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', here it is gelu"),
        ({"num_channels": 1}, "num_channels is 1, here it is 3"),
        ({"pretrain_image_size": 220}, "is 220, which patches of 16 do not fill"),
    ],
)
def test_ports_that_no_release_is_are_refused(tmp_path, changes, message):
    config = {"model_type": "seggpt", **changes}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        config_from_hugging_face(tmp_path)
