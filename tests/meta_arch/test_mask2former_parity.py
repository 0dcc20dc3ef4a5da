"""Mask2Former against what the original computed, and against Hugging Face's port."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from freeseg import add_freeseg_config

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[2] / "../shared"))
GOLDEN = SHARED / "golden/mask2former_tiny_r50"
TOLERANCE = 1e-4


def config():
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.MODEL.DEVICE = "cpu"
    return cfg


@pytest.fixture(scope="module")
def golden():
    """The original's model under our code, and the original's tensors."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no stored outputs of the original at {GOLDEN}")
    cfg = config()
    cfg.set_new_allowed(True)  # the dump holds every key of the original's own environment
    cfg.merge_from_file(str(GOLDEN / "config.yaml"))
    things = json.loads((GOLDEN / "meta.json").read_text())["thing_ids"]
    metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    metadata.set(thing_dataset_id_to_contiguous_id={thing: thing for thing in things})
    model = build_model(cfg).eval()
    model.load_state_dict(load_file(GOLDEN / "model.safetensors"), strict=True)
    return model, load_file(GOLDEN / "io.safetensors")


@pytest.mark.golden
@torch.no_grad()
def test_every_layers_prediction_equals_the_originals(golden):
    model, expected = golden
    predictions = model.sem_seg_head(model.encode_image([expected["image"]]))
    prefixes = [*(f"aux{index}." for index in range(len(predictions) - 1)), ""]
    for prefix, prediction in zip(prefixes, predictions):
        for found, name in (
            (prediction.class_logits, "pred_logits"),
            (prediction.mask_logits, "pred_masks"),
        ):
            assert (found - expected[prefix + name]).abs().max() <= TOLERANCE, prefix + name


@pytest.mark.golden
@torch.no_grad()
def test_all_three_tasks_equal_the_originals(golden):
    model, expected = golden
    height, width = expected["output_size"].tolist()
    output = model([{"image": expected["image"], "height": height, "width": width}])[0]

    assert (output["sem_seg"] - expected["sem_seg"]).abs().max() <= TOLERANCE
    segment_map, segments = output["panoptic_seg"]
    assert torch.equal(segment_map, expected["panoptic_seg"])
    rows = [[s["id"], s["category_id"], int(s["isthing"])] for s in segments]
    assert rows == expected["panoptic_segments"].tolist()
    assert (output["instances"].scores - expected["instance.scores"]).abs().max() <= TOLERANCE
    assert torch.equal(output["instances"].pred_classes, expected["instance.pred_classes"])


# Hugging Face's names to the release's, in order; applied to every key.
HUGGING_FACE_NAMES = (
    (r"^model\.pixel_level_module\.encoder\.", "backbone."),
    (r"hidden_states_norms\.stage(\d)", lambda m: f"norm{int(m[1]) - 1}"),
    (r"swin\.embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"swin\.embeddings\.norm", "patch_embed.norm"),
    (r"swin\.encoder\.layers", "layers"),
    (r"attention\.relative_position_bias\.", "attn."),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.([qkv])_proj", r"attn.\1"),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"^model\.pixel_level_module\.decoder\.", "sem_seg_head.pixel_decoder."),
    (r"pixel_decoder\.encoder", "pixel_decoder.transformer.encoder"),
    (r"pixel_decoder\.level_embed", "pixel_decoder.transformer.level_embed"),
    (r"input_projections", "input_proj"),
    (r"mask_projection", "mask_features"),
    (r"(adapter_1|layer_1)\.0\.", r"\1."),
    (r"(adapter_1|layer_1)\.1\.", r"\1.norm."),
    (r"(encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"^class_predictor", "sem_seg_head.predictor.class_embed"),
    (r"^model\.transformer_module\.", "sem_seg_head.predictor."),
    (r"queries_embedder", "query_embed"),
    (r"queries_features", "query_feat"),
    (r"decoder\.layernorm", "decoder_norm"),
    (r"decoder\.mask_predictor\.mask_embedder\.(\d)\.0", r"mask_embed.layers.\1"),
    (r"decoder\.layers\.(\d+)\.self_attn_layer_norm", r"transformer_self_attention_layers.\1.norm"),
    (
        r"decoder\.layers\.(\d+)\.cross_attn_layer_norm",
        r"transformer_cross_attention_layers.\1.norm",
    ),
    (r"decoder\.layers\.(\d+)\.final_layer_norm", r"transformer_ffn_layers.\1.norm"),
    (r"decoder\.layers\.(\d+)\.self_attn", r"transformer_self_attention_layers.\1.self_attn"),
    (
        r"decoder\.layers\.(\d+)\.cross_attn",
        r"transformer_cross_attention_layers.\1.multihead_attn",
    ),
    (r"(predictor\.)decoder\.layers\.(\d+)\.fc", r"\1transformer_ffn_layers.\2.fc"),
    (r"(transformer_ffn_layers\.\d+|transformer\.encoder\.layers\.\d+)\.fc", r"\1.linear"),
)


def from_hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in HUGGING_FACE_NAMES:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    fused = {}
    for key, value in renamed.items():
        if re.search(r"attn\.[kv](_proj)?\.", key) or "backbone.swin.layernorm" in key:
            continue  # fused below; the port's final norm feeds nothing
        if re.search(r"attn\.q(_proj)?\.", key):
            parts = [renamed[re.sub(r"\.q(?=[._])", f".{part}", key)] for part in "qkv"]
            is_swin = key.startswith("backbone")
            key = re.sub(r"q\.", "qkv.", key) if is_swin else re.sub(r"q_proj\.", "in_proj_", key)
            value = torch.cat(parts)
        fused[key] = value
    return fused


def port_and_ours(seed: int, *, num_queries: int, encoder_layers: int, decoder_layers: int):
    transformers = pytest.importorskip(
        "transformers", "5", reason="its parameter names are those of version 5"
    )
    torch.manual_seed(seed)
    swin = transformers.SwinConfig(
        embed_dim=24,
        depths=[1, 1, 2, 1],
        num_heads=[1, 2, 4, 8],
        window_size=4,
        drop_path_rate=0.0,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    theirs = transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(
            backbone_config=swin,
            feature_size=64,
            mask_feature_size=48,
            hidden_dim=64,
            encoder_feedforward_dim=96,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers,
            num_attention_heads=8,
            dim_feedforward=128,
            num_queries=num_queries,
            num_labels=7,
        )
    ).eval()
    with torch.no_grad():  # the port's start values leave most layers without effect
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    cfg = config()
    cfg.merge_from_list(
        [
            *("MODEL.META_ARCHITECTURE", "Mask2Former"),
            *("MODEL.PIXEL_MEAN", [0.0, 0.0, 0.0], "MODEL.PIXEL_STD", [1.0, 1.0, 1.0]),
            *("MODEL.BACKBONE.NAME", "D2SwinTransformer", "MODEL.SWIN.EMBED_DIM", 24),
            *("MODEL.SWIN.DEPTHS", [1, 1, 2, 1], "MODEL.SWIN.NUM_HEADS", [1, 2, 4, 8]),
            *("MODEL.SWIN.WINDOW_SIZE", 4, "MODEL.SEM_SEG_HEAD.NAME", "MaskFormerHead"),
            *("MODEL.SEM_SEG_HEAD.IN_FEATURES", ["res2", "res3", "res4", "res5"]),
            *("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 7, "MODEL.SEM_SEG_HEAD.NORM", "GN"),
            *("MODEL.SEM_SEG_HEAD.CONVS_DIM", 64, "MODEL.SEM_SEG_HEAD.MASK_DIM", 48),
            *("MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS", encoder_layers),
            *("MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_DIM_FEEDFORWARD", 96),
            *("MODEL.MASK_FORMER.HIDDEN_DIM", 64, "MODEL.MASK_FORMER.DIM_FEEDFORWARD", 128),
            *("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", num_queries),
            *("MODEL.MASK_FORMER.DEC_LAYERS", decoder_layers),
        ]
    )
    ours = build_model(cfg).eval()
    missing = ours.load_state_dict(from_hugging_face(theirs.state_dict()), strict=False)
    assert missing.unexpected_keys == []
    # what is no weight: window indices of the backbone
    assert all("relative_position_index" in key for key in missing.missing_keys)
    return theirs, ours


@pytest.mark.parametrize(
    ("seed", "size", "shape"),
    [
        (0, (96, 128), {"num_queries": 12, "encoder_layers": 2, "decoder_layers": 5}),
        (1, (64, 64), {"num_queries": 5, "encoder_layers": 1, "decoder_layers": 2}),
        (2, (160, 96), {"num_queries": 20, "encoder_layers": 3, "decoder_layers": 8}),
    ],
)
@torch.no_grad()
def test_equals_hugging_faces_port_with_the_same_weights(seed, size, shape):
    theirs, ours = port_and_ours(seed, **shape)
    image = torch.randn(2, 3, *size)
    expected = theirs(pixel_values=image, output_auxiliary_logits=True)
    predictions = ours.sem_seg_head(ours.encode_image(list(image)))
    final = predictions[-1]
    spread = final.mask_logits.std(dim=1).mean()
    assert spread > 0.1  # queries draw different masks: there is something to compare
    assert (final.class_logits - expected.class_queries_logits).abs().max() <= TOLERANCE
    assert (final.mask_logits - expected.masks_queries_logits).abs().max() <= TOLERANCE
    assert len(predictions) == shape["decoder_layers"]
