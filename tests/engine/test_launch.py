from __future__ import annotations

import pytest
import torch

from freeseg.engine import launch


def test_one_process_is_this_process():
    seen = []
    launch(seen.append, 1, device="cpu", args=("here",))
    assert seen == ["here"]


@pytest.mark.parametrize(
    ("processes", "options", "message"),
    [
        (0, {}, "0 processes on 1 machines"),
        (1, {"num_machines": 0}, "1 processes on 0 machines"),
        (1, {"num_machines": 2, "dist_url": "auto"}, "one machine only"),
    ],
)
def test_impossible_jobs_are_refused(processes, options, message):
    with pytest.raises(ValueError, match=message):
        launch(print, processes, device="cpu", **options)


def test_too_few_gpus_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="--num-gpus 4, but this machine has 1"):
        launch(print, 4, device="cuda")
