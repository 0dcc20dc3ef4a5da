"""Whole models against Hugging Face's ports with the same weights."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmark_rows.contest import Contest, Row, assert_close
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from freeseg import add_freeseg_config
from freeseg.checkpoints import KEY_MAPS
from freeseg.modeling import fuse_for_inference

CONFIG = Path(__file__).resolve().parents[2] / "configs/mask2former/ade20k/panoptic_R50.yaml"
SIZE = 640
NUM_CLASSES = 150
TOLERANCE = 1e-4


def _mask2former_r50() -> Contest:
    import transformers

    torch.manual_seed(0)
    resnet = transformers.ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    theirs = transformers.Mask2FormerForUniversalSegmentation(
        transformers.Mask2FormerConfig(backbone_config=resnet, num_labels=NUM_CLASSES)
    ).eval()
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIG))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.WEIGHTS = ""
    ours = build_model(cfg).eval()
    converted = KEY_MAPS["hf-mask2former"].convert(theirs.state_dict())
    ours.load_state_dict(converted.state)
    fuse_for_inference(ours)
    image = torch.rand(3, SIZE, SIZE) * 255
    normalised = ((image - ours.pixel_mean) / ours.pixel_std)[None]

    @torch.inference_mode()
    def segment():
        prediction = ours.sem_seg_head.final(ours.encode_image([image]))
        return [prediction.class_logits, prediction.mask_logits]

    @torch.inference_mode()
    def segment_theirs():
        output = theirs(pixel_values=normalised)
        return [output.class_queries_logits, output.masks_queries_logits]

    return Contest(
        segment, segment_theirs, lambda ours, theirs: assert_close(ours, theirs, TOLERANCE)
    )


ROWS = (
    Row(
        "mask2former-r50",
        f"Mask2Former R50, {SIZE}x{SIZE}",
        "Hugging Face's port",
        2.5,
        _mask2former_r50,
    ),
)
