"""One training step against what the originals computed: every loss and every gradient."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.data import MetadataCatalog
from freeseg import add_freeseg_config
from freeseg.layers import position
from freeseg.systems import FreeSeg, Mask2Former, OneFormer
from freeseg.text import CLIP, ClipSpec

sys.path.insert(0, str(Path(__file__).parents[1]))
import twin_training

TWINS = Path(__file__).parents[1] / "golden/twins"
LOSS_TOLERANCE = 1e-10  # of the loss
GRADIENT_TOLERANCE = 1e-9  # of the gradient's norm
ROUNDING = 1e-12  # all there is of a gradient where a bias moves all keys of an attention alike
SINGLE_TOLERANCE = 1e-5  # of the loss, in single precision
CLIP_SPEC = ClipSpec(
    embed_dim=32,
    image_size=32,
    patch_size=16,
    vision_width=64,
    vision_layers=1,
    text_width=32,
    text_layers=1,
    text_heads=4,
)


def config(name: str):
    MetadataCatalog.get("twins").set(
        stuff_classes=list(twin_training.CLASSES),
        thing_dataset_id_to_contiguous_id={i: i for i in range(twin_training.NUM_THINGS)},
    )
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(TWINS / f"{name}.yaml"))
    return cfg


def step_of_mask2former():
    return Mask2Former(config("mask2former")), twin_training.photos()


def step_of_oneformer():
    batch = zip(twin_training.photos(), twin_training.TASKS)
    return OneFormer(config("oneformer")), [{**x, "task": f"The task is {t}"} for x, t in batch]


def step_of_freeseg():
    clip = CLIP(CLIP_SPEC).requires_grad_(False)
    batch = [{**x, "task": "panoptic"} for x in twin_training.photos()]
    model = FreeSeg(config("freeseg"), clip_model=clip)
    model.sem_seg_head.interaction.attn.dropout = 0.0  # no configuration can turn it off
    return model, batch


STEPS = {
    "mask2former": step_of_mask2former,
    "oneformer": step_of_oneformer,
    "freeseg": step_of_freeseg,
}


def step(name: str):
    """Losses and gradients of a training step here."""
    model, batch = STEPS[name]()
    twin_training.fill(model.train())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "rand", twin_training.points)
        losses = model(batch)
    if name == "freeseg":  # the release drops what it computed of the last but one layer
        losses = {key: loss for key, loss in losses.items() if not key.endswith("_2")}
    return twin_training.summary(model, losses)


@pytest.fixture(scope="module", params=list(STEPS))
def twins(request):
    """Name, what the original computed in double precision, and what is computed here so."""
    expected = json.loads((TWINS / f"{request.param}.json").read_text())
    with twin_training.double_precision(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(position, "_kept", lambda compute: compute.__wrapped__)  # no doubles stay
        found = step(request.param)
    return request.param, expected, found


@pytest.mark.golden
def test_losses_equal_the_originals(twins):
    _, expected, found = twins
    assert found["losses"] == pytest.approx(expected["losses"], rel=LOSS_TOLERANCE)


@pytest.mark.golden
def test_gradients_equal_the_originals(twins):
    expected, found = (results["gradients"] for results in twins[1:])
    assert expected.keys() == found.keys()
    for name, (norm, projection) in expected.items():
        tolerance = GRADIENT_TOLERANCE * norm + ROUNDING
        assert found[name] == pytest.approx([norm, projection], abs=tolerance, rel=0), name


@pytest.mark.golden
def test_losses_in_single_precision_equal_the_originals(twins):
    name, expected, _ = twins
    assert step(name)["losses"] == pytest.approx(expected["losses"], rel=SINGLE_TOLERANCE)
