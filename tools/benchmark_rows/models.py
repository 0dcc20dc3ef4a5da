"""Whole models against Hugging Face's ports with the same weights."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from pathlib import Path

import torch

from benchmark_rows.contest import Contest, Row, assert_close
from freeseg import build_model
from freeseg.checkpoints import KEY_MAPS, config_from_hugging_face
from freeseg.modeling import fuse_for_inference
from freeseg.systems.oneformer.sentences import task_sentence
from freeseg.text import tokenize

SIZE = 640
NUM_CLASSES = 150
STAGES = ["stage1", "stage2", "stage3", "stage4"]
TASK = "panoptic"
TOLERANCE = 1e-4
# Of a decoder's masks, one pixel within rounding of the threshold is enough to move all logits by
# more than the tolerance, in any of the two: then another image is taken.
NUM_IMAGES = 5


def _pair(system: str, backbone: str):
    """A port with random weights and our fused model with the same."""
    import transformers

    torch.manual_seed(0)
    settings = {"ResNet": {}, "Swin": {"drop_path_rate": 0.0}}[backbone]
    config = getattr(transformers, f"{backbone}Config")(out_features=STAGES, **settings)
    port = getattr(transformers, f"{system}Config")(backbone_config=config, num_labels=NUM_CLASSES)
    theirs = getattr(transformers, f"{system}ForUniversalSegmentation")(port).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        cfg = config_from_hugging_face(Path(folder))
    cfg.MODEL.DEVICE = "cpu"
    ours = build_model(cfg).eval()
    converted = KEY_MAPS[f"hf-{system.lower()}"].convert(theirs.state_dict())
    ours.load_state_dict(converted.state, strict=False)
    return fuse_for_inference(ours), theirs


def _forward(system: str, backbone: str) -> Contest:
    ours, theirs = _pair(system, backbone)
    is_told_task = system == "OneFormer"
    tokens = tokenize([task_sentence(TASK)], 77).float()
    image = torch.empty(3, SIZE, SIZE)

    @torch.inference_mode()
    def segment():
        told = [ours.embed_tasks([TASK])] if is_told_task else []
        prediction = ours.sem_seg_head.final(ours.encode(ours.prepare([image])), *told)
        return [prediction.class_logits, prediction.mask_logits]

    @torch.inference_mode()
    def segment_theirs():
        told = {"task_inputs": tokens} if is_told_task else {}
        normalised = ((image - ours.pixel_mean) / ours.pixel_std)[None]
        output = theirs(pixel_values=normalised, **told)
        return [output.class_queries_logits, output.masks_queries_logits]

    def check(ours, theirs):
        assert_close(ours, theirs, TOLERANCE)

    for _ in range(NUM_IMAGES):
        image.uniform_(0, 255)
        with contextlib.suppress(AssertionError):
            check(segment(), segment_theirs())
            break
    return Contest(segment, segment_theirs, check)


ROWS = tuple(
    Row(
        f"{system.lower()}-{short.lower()}",
        f"{system} {short}, {SIZE}x{SIZE}, `fuse_for_inference`",
        "Hugging Face's port",
        2.5,
        functools.partial(_forward, system, backbone),
    )
    for system, backbone, short in (
        ("Mask2Former", "ResNet", "R50"),
        ("OneFormer", "ResNet", "R50"),
        ("OneFormer", "Swin", "Swin-T"),
    )
)
