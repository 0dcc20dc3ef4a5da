"""A model that two processes share computes, learns and is saved as a whole one."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from detectron2.config import get_cfg
from detectron2.structures import BitMasks, Instances
from freeseg import add_freeseg_config, build_model
from freeseg.config import criterion_arguments
from freeseg.engine import build_optimizer, launch
from freeseg.engine.sharding import gathered, is_sharded, shard, takes_whole_states, whole
from freeseg.systems.freeseg.dense_criterion import DenseCriterion

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "Base-Mask2Former-small.yaml"
NOISE = {"rtol": 1e-4, "atol": 1e-5}  # float32 sums in another order


class ScaledCriterion(DenseCriterion):
    """With a scalar that is learned, as OneFormer's contrastive temperature is."""

    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(self, *arguments):
        losses = super().forward(*arguments)
        return {name: loss * self.scale.exp() for name, loss in losses.items()}


def annotated(seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    instances = Instances((32, 32))
    instances.gt_classes = torch.randint(0, 3, (2,), generator=generator)
    instances.gt_masks = BitMasks(torch.rand(2, 32, 32, generator=generator) > 0.6)
    image = torch.randint(0, 256, (3, 32, 32), generator=generator).byte()
    return {"image": image, "instances": instances}


def swin_model(seed: int):
    """Mask2Former on a small Swin whose training has no chance in it, and an optimizer."""
    cfg = get_cfg()
    add_freeseg_config(cfg)
    cfg.merge_from_file(str(CONFIG))
    cfg.MODEL.BACKBONE.NAME = "D2SwinTransformer"
    cfg.MODEL.SWIN.EMBED_DIM, cfg.MODEL.SWIN.WINDOW_SIZE = 16, 4
    cfg.MODEL.SWIN.DEPTHS, cfg.MODEL.SWIN.NUM_HEADS = [1, 1, 1, 1], [1, 2, 2, 4]
    cfg.MODEL.SWIN.DROP_PATH_RATE = cfg.MODEL.MASK_FORMER.DROPOUT = 0.0
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS = 3, 1
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES, cfg.MODEL.MASK_FORMER.DEC_LAYERS = 5, 3
    cfg.SOLVER.OPTIMIZER, cfg.SOLVER.BASE_LR, cfg.SOLVER.BACKBONE_MULTIPLIER = "SGD", 0.1, 1.0
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE, cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = "full_model", 0.5
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    torch.manual_seed(seed)
    model = build_model(cfg).train()
    model.criterion = ScaledCriterion(**criterion_arguments(cfg))
    return cfg, model


def step(model, optimizer, batch) -> float:
    optimizer.zero_grad()
    loss = sum(model(batch).values())
    loss.backward()
    optimizer.step()
    return loss.item()


def assert_equal_weights(sharded, plain):
    state = gathered(sharded.state_dict())
    assert set(state) == set(plain.state_dict())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(state[name], value, **NOISE, msg=name)


def compare() -> None:
    rank = dist.get_rank()
    cfg, plain = swin_model(seed=0)
    before = copy.deepcopy(plain.state_dict())
    begun = copy.deepcopy(plain)
    if rank:  # everybody begins with the main process's
        for one in (*begun.parameters(), *begun.buffers()):
            one.data.add_(1)
    sharded = shard(begun, min_parameters=20_000)
    optimizer, of_shares = build_optimizer(cfg, plain), build_optimizer(cfg, sharded)
    batch = [annotated(seed) for seed in range(4)]
    ours = batch[2 * rank : 2 * rank + 2]
    for _ in range(2):
        expected, found = step(plain, optimizer, batch), step(sharded, of_shares, ours)
        mean = torch.tensor(found) / 2
        dist.all_reduce(mean)
        assert mean.item() == pytest.approx(expected, rel=1e-4)
    assert_equal_weights(sharded, plain)
    assert all((before[name] != one).any() for name, one in plain.named_parameters())

    shares = [one for one in sharded.parameters() if isinstance(one, DTensor)]
    total = sum(one.numel() for one in sharded.parameters())
    assert sum(one.to_local().numel() for one in shares) < 0.6 * total
    assert len([one for one in sharded.modules() if type(one).__name__.startswith("FSDP")]) >= 3

    with torch.no_grad(), whole(sharded):
        for image in batch[: 1 + rank]:  # one process calls it more often than the other
            expected = plain.eval()([image])[0]["sem_seg"]
            torch.testing.assert_close(sharded.eval()([image])[0]["sem_seg"], expected, **NOISE)
    assert is_sharded(sharded)

    _, other = swin_model(seed=1)
    other = shard(other, min_parameters=20_000)
    resumed = build_optimizer(cfg, other)
    takes_whole_states(resumed)
    other.load_state_dict(plain.state_dict())
    resumed.load_state_dict(gathered(of_shares.state_dict()))
    step(plain.train(), optimizer, batch)
    step(other, resumed, ours)
    assert_equal_weights(other, plain)


def test_shares_of_a_model_learn_what_the_whole_one_learns(forking):
    launch(compare, 2, device="cpu")


def losses(folder):
    lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
    return {line["iteration"]: line["total_loss"] for line in lines if "total_loss" in line}


def test_a_sharded_job_trains_evaluates_saves_and_resumes_as_a_plain_one(
    trained, in_two_processes, tmp_path, monkeypatch
):
    options = ("SOLVER.MAX_ITER", 8, "SOLVER.CHECKPOINT_PERIOD", 4, "TEST.EVAL_PERIOD", 4)
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setenv("TINY_PLAIN", "1")
    trained("OUTPUT_DIR", one, *options)
    sharded = ("OUTPUT_DIR", two, "SOLVER.FSDP", True, *options)
    in_two_processes(*sharded)
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    found = [
        {
            name: torch.load(folder / f"{name}.pth", weights_only=True)["model"]
            for name in ("model_final", "model_best")
        }
        for folder in (one, two)
    ]
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)
    results = [json.loads((folder / "results.json").read_text()) for folder in (one, two)]
    assert results[1]["tiny_val"]["sem_seg"] == pytest.approx(
        results[0]["tiny_val"]["sem_seg"], rel=1e-4
    )

    (two / "last_checkpoint").write_text("model_0000003.pth")
    in_two_processes(*sharded, flags=["--resume"])
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    again = torch.load(two / "model_final.pth", weights_only=True)["model"]
    torch.testing.assert_close(again, found[0]["model_final"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("was_sharded", [True, False])
def test_shares_and_whole_optimizers_resume_each_other(
    in_two_processes, tmp_path, monkeypatch, was_sharded
):
    options = ("SOLVER.MAX_ITER", 6, "SOLVER.CHECKPOINT_PERIOD", 3, "DATASETS.TEST", "()")
    monkeypatch.setenv("TINY_PLAIN", "1")
    in_two_processes(*options, "SOLVER.FSDP", was_sharded)
    expected = losses(tmp_path)
    (tmp_path / "last_checkpoint").write_text("model_0000002.pth")
    in_two_processes(*options, "SOLVER.FSDP", not was_sharded, flags=["--resume"])
    assert losses(tmp_path) == pytest.approx(expected, rel=1e-4)
    assert set(expected) == set(range(6))


def test_what_a_sharded_job_cannot_do_is_said(in_two_processes, tmp_path):
    with pytest.raises(Exception, match="one process cannot draw pictures with a model"):
        in_two_processes("SOLVER.FSDP", True, "TEST.VIS_PERIOD", 1)


def test_a_pytorch_without_sharding_leaves_a_model_alone(monkeypatch):
    monkeypatch.delattr(torch.distributed.fsdp, "FSDPModule")  # as before PyTorch 2.6
    model = nn.Linear(2, 1)
    before = model.weight.detach().clone()
    with whole(model):
        assert torch.equal(model(torch.eye(2)).T, before + model.bias)
    assert torch.equal(model.weight, before)
