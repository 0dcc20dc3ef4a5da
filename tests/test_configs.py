"""Every configuration is read, built and, shrunk, trained for one step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config, build_model
from freeseg.config import system_section

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
OWN_TESTS = (
    "freeseg",
    "grounding_dino",
    "lseg",
    "sam",
    "seggpt",
)  # tests/systems/*/test_*_configs.py
ALL = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob("*.yaml")
    if not path.name.startswith("Base-")
    and not {CONFIGS / name for name in OWN_TESTS} & set(path.parents)
)
# OneFormer's large ones are built, whole, in tests/systems/oneformer/test_oneformer_configs.py.
# Mask2Former's other backbones are the same when shrunk, so COCO's panoptic ones stand for them.
SAME = "oneformer/.*(convnext|dinat|large)|mask2former/(?!coco/panoptic).*(R101|swin)"
SHRINKABLE = [name for name in ALL if not re.search(SAME, name)]
# Millions of parameters, Mask2Former paper, tables 1 to 3 (arXiv 2112.01527).
PUBLISHED_SIZES = {
    "mask2former/coco/panoptic_R50.yaml": 44,
    "mask2former/coco/panoptic_R101.yaml": 63,
    "mask2former/coco/panoptic_swin_tiny.yaml": 47,
    "mask2former/coco/panoptic_swin_large.yaml": 216,
    "mask2former/coco/instance_R50.yaml": 44,
}


def load(name: str):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / name))
    cfg.MODEL.DEVICE = "cpu"
    return cfg


def test_there_are_configurations():
    assert len(ALL) >= 10


def test_a_backbone_changes_nothing_but_the_backbone():
    for name in filter(lambda name: re.search("mask2former/.*(R101|swin)", name), ALL):
        other, plain = load(name), load(re.sub("_(R101|swin.*).yaml", "_R50.yaml", name))
        assert other.MODEL.SEM_SEG_HEAD == plain.MODEL.SEM_SEG_HEAD, name
        assert other.DATASETS == plain.DATASETS, name
        assert other.MODEL.WEIGHTS != plain.MODEL.WEIGHTS, name
        is_swin = "swin" in name
        assert other.MODEL.BACKBONE.NAME.startswith("D2Swin" if is_swin else "build_resnet"), name
        assert (50 if is_swin else 101) == other.MODEL.RESNETS.DEPTH, name
        is_larger = other.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES > 100
        assert is_larger == ("large" in name and "semantic" not in name), name


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_SIZES.items())
def test_published_models_have_the_published_size(name, millions):
    count = sum(parameter.numel() for parameter in build_model(load(name)).parameters()) / 1e6
    assert round(count) == millions


@pytest.mark.parametrize("name", SHRINKABLE)
def test_every_configuration_trains_a_step_when_shrunk(name):
    cfg = load(name)
    cfg.MODEL.RESNETS.DEPTH = 50
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 8
    cfg.MODEL.RESNETS.WIDTH_PER_GROUP = 4
    cfg.MODEL.RESNETS.NORM = "FrozenBN"  # SyncBN needs several GPUs
    cfg.MODEL.SWIN.EMBED_DIM, cfg.MODEL.SWIN.DEPTHS = 24, [1, 1, 1, 1]
    cfg.MODEL.SWIN.NUM_HEADS = [1, 2, 4, 8]
    cfg.MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS = 1
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = cfg.MODEL.SEM_SEG_HEAD.MASK_DIM = 32
    node = system_section(cfg)
    node.HIDDEN_DIM = cfg.MODEL.TEXT_ENCODER.WIDTH = 32
    node.TRAIN_NUM_POINTS = 16
    cfg.MODEL.TEXT_ENCODER.NUM_LAYERS = 1
    model = build_model(cfg).train()
    instances = Instances((64, 64))
    instances.gt_classes = torch.tensor([0, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES - 1])
    instances.gt_masks = BitMasks(torch.ones(2, 64, 64, dtype=torch.bool))
    image = torch.zeros(3, 64, 64)
    losses = model([{"image": image, "instances": instances, "task": "panoptic"}] * 2)
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    assert len(losses) - ("loss_contrastive" in losses) == 3 * node.DEC_LAYERS
