"""A batch in parts has the gradient of the whole batch."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detectron2.config import get_cfg
from detectron2.engine import HookBase
from detectron2.structures import BitMasks, Instances
from detectron2.utils.events import EventStorage
from freeseg import add_freeseg_config, build_model
from freeseg.config import criterion_arguments
from freeseg.engine.accumulation import (
    AccumulatingAMPTrainer,
    AccumulatingTrainer,
    accumulate,
)
from freeseg.systems.freeseg.dense_criterion import DenseCriterion

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


class Scale(nn.Module):
    """A weight times the mean of a batch; notes where it was called."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0, -1.0]))
        self.calls = []

    def forward(self, batch):
        self.calls.append(len(batch))
        values = torch.tensor(batch)
        return {
            "loss_a": self.weight[0] * values.mean(),
            "loss_b": (self.weight[1] * values.mean() - 1).square(),
        }


BATCHES = [[1.0, 3.0, 2.0, 7.0, 5.0, 6.0], [0.5, 2.5, 4.0, 1.0, 0.0, 3.0], [2.0] * 5 + [9.0]]


def by_hand(num_parts, rate):
    """Weights and total losses of SGD on the mean of the parts' losses, three steps."""
    first, second = 2.0, -1.0
    rows = []
    for batch in BATCHES:
        size = len(batch) // num_parts
        means = [sum(batch[i : i + size]) / size for i in range(0, len(batch), size)]
        loss_a = sum(first * mean for mean in means) / num_parts
        loss_b = sum((second * mean - 1) ** 2 for mean in means) / num_parts
        first -= rate * sum(means) / num_parts
        second -= rate * sum(2 * (second * mean - 1) * mean for mean in means) / num_parts
        rows.append((first, second, loss_a, loss_b))
    return rows


class Order(HookBase):
    """Notes how often gradients were there before the step."""

    def __init__(self):
        self.seen = []

    def after_backward(self):
        model = self.trainer.model
        self.seen.append((len(model.calls), model.weight.grad.clone(), model.weight.tolist()))


@pytest.mark.parametrize("num_parts", [1, 2, 3, 6])
@pytest.mark.parametrize("has_amp", [False, True])
def test_three_steps_are_those_of_the_loop_written_out(num_parts, has_amp):
    model = Scale()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.125)
    kind = AccumulatingAMPTrainer if has_amp else AccumulatingTrainer
    trainer = kind(model, BATCHES, optimizer, num_parts=num_parts)
    if has_amp:
        trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
        trainer.precision = None  # of CUDA
    order = Order()
    trainer.register_hooks([order])
    with EventStorage() as storage:
        for step, (first, second, loss_a, loss_b) in enumerate(by_hand(num_parts, 0.125)):
            trainer.iter = step
            trainer.run_step()
            assert model.weight.tolist() == pytest.approx([first, second], rel=1e-5)
            assert storage.latest()["loss_a"][0] == pytest.approx(loss_a, rel=1e-5)
            assert storage.latest()["total_loss"][0] == pytest.approx(loss_a + loss_b, rel=1e-5)
            assert 0 <= storage.latest()["data_time"][0] < 10
            storage.step()
    assert model.calls == [6 // num_parts] * (3 * num_parts)
    assert [calls for calls, *_ in order.seen] == [num_parts, 2 * num_parts, 3 * num_parts]
    assert order.seen[0][2] == [2.0, -1.0], "before the step"
    if has_amp:
        assert trainer.grad_scaler.get_scale() == 128.0, "it grew after two good steps"


class Copies(DistributedDataParallel):
    """Exchanges nothing, and notes when it would not."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module, self.silent, self.noted = module, False, []

    @contextlib.contextmanager
    def no_sync(self):
        self.silent = True
        yield
        self.silent = False

    def forward(self, batch):
        self.noted.append(self.silent)
        return self.module(batch)


@pytest.mark.parametrize("num_parts", [1, 3])
def test_processes_exchange_gradients_with_the_last_part_alone(num_parts):
    model = Copies(Scale())
    accumulate(model, BATCHES[0], num_parts, lambda loss: model.noted.append(model.silent))
    silent = [part < num_parts - 1 for part in range(num_parts)]
    assert model.noted == [each for each in silent for _ in ("forward", "backward")]


def test_counts_are_asked_of_the_whole_batch_of_the_bare_model():
    model = Copies(Scale())
    asked = []
    model.module.target_counts = lambda batch: asked.append(batch)
    accumulate(model, BATCHES[0], 3, lambda loss: None)
    assert asked == [BATCHES[0]]


@pytest.fixture
def autocast_on_cpu(monkeypatch):
    """CUDA's mixed precision, on this machine."""
    plain = torch.autocast

    @contextlib.contextmanager
    def on_cpu(device, *, dtype, enabled):
        assert device == "cuda"
        with plain("cpu", dtype=dtype or torch.bfloat16, enabled=enabled):
            yield

    monkeypatch.setattr(torch, "autocast", on_cpu)


def precision_now():
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None


@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_the_forward_pass_alone_is_in_the_precision_that_is_asked_for(autocast_on_cpu, precision):
    entered, backward, model = [], [], Scale()
    model.register_forward_hook(lambda *_: entered.append(precision_now()))
    accumulate(
        *(model, BATCHES[0], 2, lambda _: backward.append(precision_now())), precision=precision
    )
    assert entered == [precision] * 2
    assert backward == [None] * 2
    trainer = AccumulatingAMPTrainer(
        *(model, BATCHES, torch.optim.SGD(model.parameters(), lr=0.1)),
        **{"grad_scaler": torch.amp.GradScaler("cpu"), "precision": precision, "num_parts": 3},
    )
    trainer.iter = 0
    with EventStorage():
        trainer.run_step()
    assert entered[2:] == [precision] * 3


@pytest.mark.parametrize(("num_parts", "is_taken"), [(0, False), (1, True), (6, True), (4, False)])
def test_parts_divide_the_batch(num_parts, is_taken):
    if is_taken:
        accumulate(Scale(), BATCHES[0], num_parts, lambda loss: None)
        return
    with pytest.raises(ValueError, match=f"ACCUMULATION_STEPS {num_parts} must divide"):
        accumulate(Scale(), BATCHES[0], num_parts, lambda loss: None)
