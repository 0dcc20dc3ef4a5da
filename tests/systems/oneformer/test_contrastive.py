from __future__ import annotations

import math
import os
import socket
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch.nn import functional as F

import freeseg.systems.oneformer.criterion as contrastive_module
from detectron2.utils import comm
from freeseg.structures import MaskPrediction, SegmentationTarget
from freeseg.systems.oneformer.criterion import ContrastiveSetCriterion, contrastive
from freeseg.training import SetCriterion

sys.path.insert(0, str(Path(__file__).parents[2]))
from processes import Processes


def batch(count: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, 3, 4, generator=generator, dtype=torch.float64).unbind()


def test_equals_the_definition():
    queries, texts = batch(4)
    scale = torch.tensor(5.0)
    q = [row.flatten() / row.norm() for row in queries]
    t = [row.flatten() / row.norm() for row in texts]
    expected = 0.0
    for i in range(4):
        to_texts = [math.exp(5 * float(q[i] @ t[j])) for j in range(4)]
        to_queries = [math.exp(5 * float(t[i] @ q[j])) for j in range(4)]
        expected -= math.log(to_texts[i] / sum(to_texts)) / 4
        expected -= math.log(to_queries[i] / sum(to_queries)) / 4
    assert contrastive(queries, texts, scale).item() == pytest.approx(expected, rel=1e-5)


def test_pairs_that_agree_are_better_than_others():
    queries, texts = batch(4)
    scale = torch.tensor(10.0)
    assert contrastive(queries, queries, scale) < contrastive(queries, texts, scale)
    assert contrastive(queries, queries, scale) < contrastive(queries, queries.flip(0), scale)


WEIGHTS = {"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 3.0}


def build(contrastive_weight: float = 0.5, temperature: float = 0.07) -> ContrastiveSetCriterion:
    return ContrastiveSetCriterion(
        contrastive_weight=contrastive_weight,
        temperature=temperature,
        num_classes=2,
        weights=WEIGHTS,
        no_object_weight=0.1,
        num_points=4,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )


def layers_and_targets():
    generator = torch.Generator().manual_seed(3)
    layers = [
        MaskPrediction(
            torch.randn(3, 5, 3, generator=generator), torch.randn(3, 5, 6, 8, generator=generator)
        )
        for _ in range(2)
    ]
    targets = [
        SegmentationTarget(
            torch.randint(0, 2, (count,), generator=generator),
            torch.rand(count, 12, 16, generator=generator) > 0.5,
        )
        for count in (2, 0, 1)
    ]
    return layers, targets


def test_the_scale_begins_at_the_temperature_and_is_learned():
    criterion = build()
    assert criterion.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert {"empty_weight", "logit_scale"} == set(criterion.state_dict())


@pytest.mark.parametrize(
    ("learned", "used"), [(5.0, 5.0), (99.0, 99.0), (101.0, 100.0), (math.exp(20), 100.0)]
)
def test_the_criterion_limits_the_scale(learned, used):
    criterion = build(contrastive_weight=1.0)
    with torch.no_grad():
        criterion.logit_scale.fill_(math.log(learned))
    queries, texts = batch(3)
    loss = criterion(*layers_and_targets(), queries, texts)["loss_contrastive"]
    torch.testing.assert_close(loss, contrastive(queries, texts, torch.tensor(used)))
    loss.backward()
    assert (criterion.logit_scale.grad != 0) == (used == learned), "what is limited has no slope"


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_losses_are_the_set_criterions_and_the_weighted_contrastive_one(weight):
    criterion, (layers, targets), (queries, texts) = build(weight), layers_and_targets(), batch(3)
    torch.manual_seed(0)
    found = criterion(layers, targets, queries, texts)
    torch.manual_seed(0)
    wanted = SetCriterion.forward(criterion, layers, targets)
    wanted["loss_contrastive"] = weight * contrastive(queries, texts, torch.tensor(1 / 0.07))
    assert (
        set(found)
        == set(wanted)
        == {"loss_contrastive"} | {name + end for name in WEIGHTS for end in ("", "_0")}
    )
    for name, loss in wanted.items():
        torch.testing.assert_close(found[name], loss, msg=name)


def test_lengths_of_queries_and_texts_change_nothing():
    queries, texts = batch(4)
    scale, lengths = torch.tensor(5.0), torch.tensor([0.1, 2.0, 7.0, 30.0])[:, None, None]
    expected = contrastive(queries, texts, scale)
    torch.testing.assert_close(contrastive(queries * lengths, texts, scale), expected)
    torch.testing.assert_close(contrastive(queries, texts * lengths, scale), expected)


@pytest.mark.parametrize("number", [2, 4])
def test_shares_of_processes_have_the_loss_and_gradients_of_the_global_batch(number, monkeypatch):
    whole, leaves = ([x.requires_grad_() for x in batch(8)] for _ in range(2))
    scale = torch.tensor(5.0)
    loss = contrastive(*whole, scale)
    loss.backward()
    processes = Processes(monkeypatch, number)
    monkeypatch.setattr(contrastive_module, "all_gather", comm.all_gather)
    parts = list(zip(*(x.chunk(number) for x in leaves)))
    shares = processes.run([lambda part=part: contrastive(*part, scale) for part in parts])
    mean = torch.stack(shares).mean()
    torch.testing.assert_close(mean, loss)
    mean.backward()
    for one, other in zip(whole, leaves):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-6)


def _worker(rank: int, port: int, results: mp.Queue) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    queries, texts = (x[2 * rank : 2 * rank + 2].clone().requires_grad_() for x in batch(4))
    loss = contrastive(queries, texts, torch.tensor(5.0))
    loss.backward()
    results.put((rank, loss.item(), queries.grad.tolist(), texts.grad.tolist()))
    results.close()
    results.join_thread()
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_loss_and_gradients_of_the_global_batch():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_worker, args=(rank, port, results)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found = sorted(results.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(timeout=60)
    queries, texts = (x.clone().requires_grad_() for x in batch(4))
    loss = contrastive(queries, texts, torch.tensor(5.0))
    loss.backward()
    assert sum(row[1] for row in found) / 2 == pytest.approx(loss.item(), rel=1e-5)
    for column, whole in ((2, queries.grad), (3, texts.grad)):
        averaged = torch.tensor(found[0][column] + found[1][column]) / 2  # as DDP averages
        torch.testing.assert_close(averaged, whole.to(averaged), rtol=1e-5, atol=1e-6)
    assert F.cosine_similarity(queries.grad.flatten(), texts.grad.flatten(), dim=0) < 0.99
