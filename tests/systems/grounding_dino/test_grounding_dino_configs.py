"""The configurations of Grounding DINO: published sizes, and a step of training when shrunk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from freeseg import add_freeseg_config, build_model
from freeseg.data import read_vocabulary

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_inputs import CONFIGS, annotated, picture

FOLDER = CONFIGS / "grounding_dino"
ALL = sorted(path.name for path in FOLDER.glob("*.yaml"))
# The release's, without the pooler of BERT (0.6 M), which nothing reads and we do not have.
MILLIONS = {"swin_t.yaml": 172.8 - 0.6, "swin_b.yaml": 232.9 - 0.6}


def load(name: str):
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(FOLDER / name))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    return cfg


def test_there_are_configurations():
    assert set(MILLIONS) < set(ALL)


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_published_models_have_the_published_size(name, millions):
    model = build_model(load(name))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.3)


@pytest.mark.parametrize("name", ALL)
def test_every_configuration_trains_a_step_and_answers_when_shrunk(name):
    cfg = load(name)
    bert, node = cfg.MODEL.TEXT_ENCODER.BERT, cfg.MODEL.GROUNDING_DINO
    bert.WIDTH, bert.DEPTH, bert.NHEADS, bert.DIM_FEEDFORWARD = 16, 1, 2, 16
    cfg.MODEL.SWIN.EMBED_DIM, cfg.MODEL.SWIN.DEPTHS = 16, [1, 1, 1, 1]
    cfg.MODEL.SWIN.NUM_HEADS = [1, 2, 4, 4]
    node.HIDDEN_DIM, node.DIM_FEEDFORWARD, node.ENC_LAYERS, node.NUM_QUERIES = 64, 64, 1, 7
    torch.manual_seed(0)
    model = build_model(cfg).train()
    named = {"dataset_name": "shapes_seen_train_panoptic"} if "shapes" in name else {}
    model.vocabularies.setdefault(None, read_vocabulary("cat, dog"))
    losses = model([annotated([0, 1], **named), annotated([1], 1, **named)])
    assert len(losses) == 3 * (node.DEC_LAYERS + 1)
    total = sum(losses.values())
    assert torch.isfinite(total)
    total.backward()
    silent = {name for name, each in model.named_parameters()
              if each.requires_grad and each.grad is None}  # fmt: skip
    # words that nobody reads further; the last layer's references
    assert not [each for each in silent if not each.startswith("text_side.encoder.")]
    model.eval()
    with torch.inference_mode():
        (found,) = model([{**picture(), "vocabulary": read_vocabulary("cat, dog")}])
    assert len(found["instances"]) == 14
