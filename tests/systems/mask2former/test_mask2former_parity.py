"""Mask2Former against what the original computed, and against Hugging Face's port."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from freeseg import add_freeseg_config, build_model

sys.path.insert(0, str(Path(__file__).parents[2]))
from hugging_face_ports import mask2former_pair

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
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
    predictions = model.sem_seg_head(model.encode(model.prepare([expected["image"]])))
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


@pytest.mark.parametrize(
    ("backbone", "size", "shape"),
    [
        ("swin", (96, 128), {"num_queries": 12, "encoder_layers": 2, "decoder_layers": 5}),
        ("swin", (64, 64), {"num_queries": 5, "encoder_layers": 1, "decoder_layers": 2}),
        ("swin", (160, 96), {"num_queries": 20, "encoder_layers": 3, "decoder_layers": 8}),
        ("resnet", (96, 64), {"num_queries": 7, "encoder_layers": 1, "decoder_layers": 4}),
    ],
)
@torch.no_grad()
def test_equals_hugging_faces_port_at_every_layer(tmp_path, backbone, size, shape):
    theirs, ours = mask2former_pair(tmp_path, backbone, **shape)
    image = torch.randn(2, 3, *size)
    expected = theirs(pixel_values=image, output_auxiliary_logits=True)
    predictions = ours.sem_seg_head(ours.encode(ours.prepare(list(image))))
    final = predictions[-1]
    spread = final.mask_logits.std(dim=1).mean()
    assert spread > 0.1  # queries draw different masks: there is something to compare
    assert (final.class_logits - expected.class_queries_logits).abs().max() <= TOLERANCE
    assert (final.mask_logits - expected.masks_queries_logits).abs().max() <= TOLERANCE
    assert len(predictions) == shape["decoder_layers"]
    auxiliary = expected.auxiliary_logits
    assert len(auxiliary) == len(predictions) - 1
    for found, other in zip(predictions, auxiliary):
        assert (found.class_logits - other["class_queries_logits"]).abs().max() <= TOLERANCE
        assert (found.mask_logits - other["masks_queries_logits"]).abs().max() <= TOLERANCE
