"""SAM beside Hugging Face's port with the same random weights, and folders of the port."""

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
from freeseg.systems.sam.prompts import PointPrompts

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from hugging_face_ports import load_port
from small_inputs import picture

SIDE = 96
SIZES = {
    "whole windows": {"window_size": 3, "num_hidden_layers": 2, "global_attn_indexes": [1]},
    "cut windows": {"window_size": 4, "num_hidden_layers": 3, "global_attn_indexes": [0]},
    "no bias": {
        **{"window_size": 4, "num_hidden_layers": 2, "global_attn_indexes": [1]},
        "qkv_bias": False,
    },
}


def save_port(folder, quality_layers: int = 3, **vision):
    """A port of random weights whose decoder has the release's epsilon."""
    transformers = pytest.importorskip("transformers", "5")
    torch.manual_seed(0)
    decoder = {"mlp_dim": 48, "num_attention_heads": 2, "hidden_size": 32}
    config = transformers.SamConfig(
        vision_config={
            **{"hidden_size": 24, "num_attention_heads": 2, "mlp_dim": 40, "output_channels": 32},
            **{"image_size": SIDE, "num_pos_feats": 16, **vision},
        },
        prompt_encoder_config={
            **{"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 8},
            "image_embedding_size": SIDE // 16,
        },
        mask_decoder_config={
            **{**decoder, "iou_head_hidden_dim": 20, "iou_head_depth": quality_layers},
            "layer_norm_eps": 1e-5,
        },
    )
    port = transformers.SamModel(config).eval()
    with torch.no_grad():
        for parameter in port.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    port.save_pretrained(folder)
    return port


@pytest.mark.parametrize("vision", SIZES.values(), ids=SIZES)
def test_embeddings_masks_and_qualities_are_the_ports(tmp_path, vision):
    port, model = save_port(tmp_path, **vision), load_port(tmp_path)
    image = picture(SIDE, 64)["image"]
    prepared = model.prepare([image])
    points = torch.rand(3, 2, 2, generator=torch.Generator().manual_seed(1)) * 60
    labels = torch.tensor([[1, 0], [1, 1], [0, 1]])
    with torch.inference_mode():
        features = model.encode(prepared)
        ours = model.decode(
            features,
            [0, 0, 0],
            PointPrompts.of_marks(points, labels, torch.full((3, 4), torch.nan)),
        )
        theirs = port(
            pixel_values=prepared.pixels,
            input_points=points[None],
            input_labels=labels[None],
            multimask_output=True,
        )
        embedding = port.get_image_embeddings(prepared.pixels)
    torch.testing.assert_close(features.embedding, embedding, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(ours.mask_logits[:, 1:], theirs.pred_masks[0], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(ours.qualities[:, 1:], theirs.iou_scores[0], atol=1e-4, rtol=1e-5)


def test_boxes_and_masks_are_the_ports(tmp_path):
    port, model = save_port(tmp_path, **SIZES["cut windows"]), load_port(tmp_path)
    prepared = model.prepare([picture(SIDE, SIDE)["image"]])
    boxes = torch.tensor([[10.0, 12, 60, 50]])
    side = SIDE // 16 * 4
    logits = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(2)) * 4
    no_points = torch.zeros(1, 0, 2), torch.zeros(1, 0, dtype=torch.int64)
    with torch.inference_mode():
        features = model.encode(prepared)
        for given in (None, logits):
            prompts = PointPrompts.of_marks(*no_points, boxes, given)
            ours = model.decode(features, [0], prompts)
            theirs = port(
                pixel_values=prepared.pixels,
                input_boxes=boxes[None],
                input_masks=given,
                multimask_output=False,
            )
            torch.testing.assert_close(
                ours.mask_logits[:, :1], theirs.pred_masks[0], atol=1e-4, rtol=1e-5
            )


@pytest.mark.parametrize("quality_layers", [2, 3, 4])
def test_names_go_both_ways(tmp_path, quality_layers):
    """Every weight has one name on each side: a port is filled from our state dict again."""
    port = save_port(tmp_path, quality_layers, **SIZES["whole windows"])
    model, theirs = load_port(tmp_path), read_checkpoint(tmp_path / "model.safetensors")
    assert detect_system(theirs) == "hf-sam"
    converted = KEY_MAPS["hf-sam"].convert(theirs).state
    assert set(converted) == set(model.state_dict())
    names = {id(value): name for name, value in theirs.items()}
    back = {names[id(value)]: model.state_dict()[name] for name, value in converted.items()}
    assert len(back) == len(converted)
    assert all(torch.equal(value, theirs[name]) for name, value in back.items())
    with torch.no_grad():
        for parameter in port.parameters():
            parameter.zero_()
    missing, unexpected = port.load_state_dict(back, strict=False)
    assert unexpected == []
    assert all("shared_embedding" in name for name in missing)


def test_a_folder_of_the_port_segments(tmp_path):
    save_port(tmp_path, **SIZES["cut windows"])
    segmenter = Segmenter.from_pretrained(str(tmp_path), device="cpu")
    assert segmenter.tasks == ("object",)
    photo = picture(50, 70)["image"].permute(1, 2, 0).numpy()
    found = segmenter.open(photo)(points=[(30, 20)])
    assert found.objects.masks.shape == (3, 50, 70)


def test_what_a_folder_leaves_out_are_the_ports_defaults(tmp_path):
    transformers = pytest.importorskip("transformers", "5")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    cfg, port = config_from_hugging_face(tmp_path), transformers.SamConfig()
    vision, decoder = port.vision_config, port.mask_decoder_config
    vit = cfg.MODEL.SAM.VIT
    assert (vision.hidden_size, vision.num_hidden_layers) == (vit.EMBED_DIM, vit.DEPTH)
    assert (vision.num_attention_heads, vision.window_size) == (vit.NHEADS, vit.WINDOW)
    assert list(vision.global_attn_indexes) == vit.GLOBAL_BLOCKS
    assert vision.mlp_dim == vit.MLP_RATIO * vit.EMBED_DIM
    assert vision.image_size == cfg.MODEL.SAM.IMAGE_SIZE
    assert decoder.mlp_dim == cfg.MODEL.SAM.DIM_FEEDFORWARD
    assert decoder.iou_head_hidden_dim == cfg.MODEL.SAM.QUALITY_DIM
    assert port.prompt_encoder_config.mask_input_channels == cfg.MODEL.SAM.MASK_CHANNELS


def test_a_port_without_positions_is_refused(tmp_path):
    config = {"model_type": "sam", "vision_config": {"use_rel_pos": False}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="vision_config has use_rel_pos false"):
        config_from_hugging_face(tmp_path)
