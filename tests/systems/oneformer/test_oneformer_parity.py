"""OneFormer against what the original computed, and against Hugging Face's port."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from detectron2.config import get_cfg
from freeseg import add_freeseg_config, build_model
from freeseg.systems.oneformer.sentences import task_sentence
from freeseg.text import tokenize

sys.path.insert(0, str(Path(__file__).parents[2]))
from hugging_face_ports import oneformer_pair

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
GOLDEN = SHARED / "golden/oneformer_tiny"
TASKS = ("semantic", "instance", "panoptic")
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden():
    """The original's model under our code, and the original's tensors."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no stored outputs of the original at {GOLDEN}")
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.set_new_allowed(True)  # the dump holds every key of the original's own environment
    cfg.merge_from_file(str(GOLDEN / "config.yaml"))
    model = build_model(cfg).eval()
    model.load_state_dict(load_file(GOLDEN / "model.safetensors"), strict=True)
    return model, load_file(GOLDEN / "io.safetensors")


@pytest.mark.golden
@pytest.mark.parametrize("task", TASKS)
@torch.no_grad()
def test_predictions_equal_the_originals(golden, task):
    model, expected = golden
    features = model.encode(model.prepare([expected["image"]]))
    prediction = model.sem_seg_head(features, model.embed_tasks([task])).predictions[-1]
    for found, name in (
        (prediction.class_logits, "pred_logits"),
        (prediction.mask_logits, "pred_masks"),
    ):
        assert (found - expected[f"{task}.{name}"]).abs().max() <= TOLERANCE, name


@pytest.mark.golden
@pytest.mark.parametrize("task", TASKS)
@torch.no_grad()
def test_semantic_scores_under_every_task_equal_the_originals(golden, task):
    model, expected = golden
    record = {"image": expected["image"], "task": f"The task is {task}", "tasks": ("semantic",)}
    found = model([record])[0]["sem_seg"]
    assert (found - expected[f"{task}.sem_seg"]).abs().max() <= TOLERANCE


@pytest.mark.golden
def test_tasks_of_the_stored_outputs_differ(golden):
    _, expected = golden
    semantic, panoptic = (expected[f"{task}.pred_masks"] for task in ("semantic", "panoptic"))
    assert (semantic - panoptic).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize(
    ("backbone", "size", "shape"),
    [
        ("swin", (96, 128), {"num_queries": 12, "encoder_layers": 2, "decoder_layers": 5}),
        ("swin", (64, 64), {"num_queries": 5, "query_dec_layers": 3, "use_task_norm": False}),
        ("resnet", (64, 96), {"num_queries": 9, "encoder_layers": 1, "decoder_layers": 4}),
        ("resnet", (96, 64), {"num_queries": 7, "query_dec_layers": 1, "decoder_layers": 2}),
    ],
)
@torch.no_grad()
def test_equals_hugging_faces_port_at_every_layer(tmp_path, backbone, size, shape):
    theirs, ours = oneformer_pair(tmp_path, backbone, **shape)
    image = torch.randn(3, 3, *size)
    tokens = tokenize([task_sentence(task) for task in TASKS], 77).float()
    expected = theirs(pixel_values=image, task_inputs=tokens)
    features = ours.encode(ours.prepare(list(image)))
    output = ours.sem_seg_head(features, ours.embed_tasks(TASKS))

    final = output.predictions[-1]
    assert (
        final.mask_logits.std(dim=1).mean() > 0.1
    )  # queries differ: there is something to compare
    assert (final.class_logits - expected.class_queries_logits).abs().max() <= TOLERANCE
    assert (final.mask_logits - expected.masks_queries_logits).abs().max() <= TOLERANCE
    auxiliary = expected.auxiliary_predictions
    assert len(auxiliary) == len(output.predictions) - 1 >= 1
    for found, other in zip(output.predictions, auxiliary):
        assert (found.class_logits - other["class_queries_logits"]).abs().max() <= TOLERANCE
        assert (found.mask_logits - other["masks_queries_logits"]).abs().max() <= TOLERANCE


@torch.no_grad()
def test_text_queries_equal_hugging_faces_port(tmp_path):
    theirs, ours = oneformer_pair(tmp_path, "swin", num_queries=12)
    for layer in theirs.model.text_mapper.text_encoder.transformer.layers:
        # the port builds the original's causal mask and forgets to pass it on
        masked = {"attn_mask": layer.attn_mask}
        layer.self_attn.register_forward_pre_hook(
            lambda _, args, options, masked=masked: (args, {**options, **masked}), with_kwargs=True
        )
    texts = ["a photo with a cat", "a photo with a dog", *["a panoptic photo"] * 6]
    tokens = tokenize(texts, 77)
    expected = theirs.model.text_mapper(tokens[None])[0]  # [Q, C]
    found = ours.text_projector(ours.text_encoder(tokens))
    assert (found - expected[:8]).abs().max() <= TOLERANCE
    assert torch.equal(ours.prompt_ctx.weight, expected[8:])
