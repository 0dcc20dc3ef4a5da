"""Models of Hugging Face's ports with random weights, saved to a folder and loaded here."""

from __future__ import annotations

import pytest
import torch

from freeseg import build_model
from freeseg.checkpoints import (
    KEY_MAPS,
    StrictCheckpointer,
    config_from_hugging_face,
    detect_system,
    read_checkpoint,
)

NUM_CLASSES = 7
REASON = "the configuration of the ports is that of version 5"
STAGES = ["stage1", "stage2", "stage3", "stage4"]
SIZES = {"encoder_layers": 1, "decoder_layers": 3, "num_queries": 6}


def backbone_config(transformers, kind: str):
    if kind == "resnet":
        return transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=[16, 32, 64, 128],
            depths=[3, 4, 6, 3],
            layer_type="bottleneck",
            out_features=STAGES,
        )
    return transformers.SwinConfig(
        embed_dim=24,
        depths=[1, 1, 2, 1],
        num_heads=[1, 2, 4, 8],
        window_size=4,
        drop_path_rate=0.0,
        out_features=STAGES,
    )


def oneformer_pair(folder, backbone: str, **sizes):
    transformers = pytest.importorskip("transformers", "5", reason=REASON)
    port = transformers.OneFormerConfig(
        backbone_config=backbone_config(transformers, backbone),
        conv_dim=64,
        mask_dim=64,
        hidden_dim=64,
        encoder_feedforward_dim=96,
        dim_feedforward=128,
        num_labels=NUM_CLASSES,
        text_encoder_width=64,
        text_encoder_num_layers=2,
        text_encoder_n_ctx=4,
        is_training=True,  # has a text mapper
        dropout=0.0,  # the port's pixel decoder drops out even in evaluation when it is_training
        **{**SIZES, **sizes},
    )
    return pair(folder, transformers.OneFormerForUniversalSegmentation, port)


def mask2former_pair(folder, backbone: str, **sizes):
    transformers = pytest.importorskip("transformers", "5", reason=REASON)
    port = transformers.Mask2FormerConfig(
        backbone_config=backbone_config(transformers, backbone),
        feature_size=64,
        mask_feature_size=48,
        hidden_dim=64,
        encoder_feedforward_dim=96,
        dim_feedforward=128,
        num_labels=NUM_CLASSES,
        **{**SIZES, **sizes},
    )
    return pair(folder, transformers.Mask2FormerForUniversalSegmentation, port)


def pair(folder, build, port):
    """The port, and our model built from the folder that it was saved to."""
    torch.manual_seed(port.num_queries)
    theirs = build(port).eval()
    with torch.no_grad():  # the port's start values leave most layers without effect
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(folder)
    theirs.model.is_training = False  # asks for no texts
    cfg = config_from_hugging_face(folder)
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [0.0] * 3, [1.0] * 3
    ours = build_model(cfg).eval()
    state = read_checkpoint(folder / "model.safetensors")
    system = detect_system(state)
    assert system == f"hf-{port.model_type}"
    state = KEY_MAPS[system].convert(state).state
    missing = ours.load_state_dict(state, strict=False)
    assert missing.unexpected_keys == []
    # what is no weight: window indices of the backbone, class weights of the loss
    indices = ("relative_position_index", "criterion.empty_weight", "criterion.logit_scale")
    assert [key for key in missing.missing_keys if not key.endswith(indices)] == []
    return theirs, ours


def load_port(folder):
    """The model of a saved port, with all of its weights."""
    cfg = config_from_hugging_face(folder)
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()
    checkpointer = StrictCheckpointer(model)
    checkpointer.load(str(folder))
    assert checkpointer.misfit() == ""
    return model
