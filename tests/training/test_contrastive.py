from __future__ import annotations

import math
import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch.nn import functional as F

from freeseg.training import ContrastiveSetCriterion
from freeseg.training.contrastive import contrastive


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


def test_the_scale_is_learned_and_limited():
    criterion = ContrastiveSetCriterion(
        contrastive_weight=0.5,
        temperature=0.07,
        num_classes=2,
        weights={"loss_ce": 1.0, "loss_mask": 1.0, "loss_dice": 1.0},
        no_object_weight=0.1,
        num_points=4,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
    )
    assert criterion.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    assert {"empty_weight", "logit_scale"} == set(criterion.state_dict())
    with torch.no_grad():
        criterion.logit_scale.fill_(20.0)
    queries, texts = batch(3)
    limited = contrastive(queries, texts, criterion.logit_scale.exp().clamp(max=100))
    assert limited == contrastive(queries, texts, torch.tensor(100.0))


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
