"""A batch in parts has the gradient of the whole batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from detectron2.config import get_cfg
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config, build_model
from freeseg.config import criterion_arguments
from freeseg.engine.accumulation import accumulate
from freeseg.training import DenseCriterion

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def annotated(num_targets: int, seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    instances = Instances((32, 32))
    instances.gt_classes = torch.randint(0, 3, (num_targets,), generator=generator)
    masks = torch.rand(num_targets, 32, 32, generator=generator) > 0.6
    instances.gt_masks = BitMasks(masks)
    image = torch.randint(0, 256, (3, 32, 32), generator=generator).byte()
    return {"image": image, "instances": instances, "task": "panoptic"}


@pytest.fixture
def model():
    """Mask2Former without chance: no dropout, no sampled points, fixed batch norms."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "Base-Mask2Former-small.yaml"))
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.MODEL.MASK_FORMER.DROPOUT = 0.0
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = 5
    torch.manual_seed(0)
    model = build_model(cfg).train()
    model.backbone.eval()
    model.criterion = DenseCriterion(**criterion_arguments(cfg))
    return model


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("num_parts", [2, 4])
def test_parts_have_the_losses_and_the_gradient_of_the_whole(model, num_parts):
    batch = [annotated(count, seed) for seed, count in enumerate([0, 2, 9, 1])]
    whole = model(batch)
    sum(whole.values()).backward()
    expected = gradients(model)
    model.zero_grad()
    losses = accumulate(model, batch, num_parts, lambda loss: loss.backward())
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {name: loss.item() for name, loss in whole.items()}, rel=1e-4
    )
    found = gradients(model)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


def test_a_batch_that_cannot_be_divided_is_refused(model):
    with pytest.raises(ValueError, match=r"ACCUMULATION_STEPS 3 must divide .* a batch has 4"):
        accumulate(model, [annotated(1, 0)] * 4, 3, print)


def test_a_job_in_parts_trains_like_one_in_whole_batches(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_PLAIN", "1")
    losses = []
    for parts in (1, 2):
        folder = tmp_path / str(parts)
        trained(
            *("OUTPUT_DIR", folder, "SOLVER.MAX_ITER", 6, "SOLVER.LOG_PERIOD", 1),
            *("SOLVER.ACCUMULATION_STEPS", parts, "DATASETS.TEST", "()"),
        )
        lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
        losses.append([line["total_loss"] for line in lines if "total_loss" in line])
    assert len(losses[0]) == 6
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
