"""Several processes on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import detectron2
from detectron2.engine import DEFAULT_TIMEOUT, launch

SCRIPT = """
import json, sys, torch
from detectron2.engine import SimpleTrainer, create_ddp_model, launch
from detectron2.utils import comm

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return {"loss": (self.w - x) ** 2 / 2}

def main(out):
    rank = comm.get_rank()
    model = Model()
    ddp = create_ddp_model(model, broadcast_buffers=False, **json.loads(sys.argv[2]))
    data = [torch.tensor(float(x)) for x in ([1, 2] if rank == 0 else [3, 6])]
    trainer = SimpleTrainer(ddp, data, torch.optim.SGD(model.parameters(), lr=0.5))
    trainer.train(0, 2)
    result = {
        "w": model.w.item(),
        "size": comm.get_world_size(),
        "local_rank": comm.get_local_rank(),
        "ddp": type(ddp).__name__,
    }
    gathered = comm.gather(result)
    if comm.is_main_process():
        losses = [v for v, _ in trainer.storage.history("total_loss").values()]
        with open(out, "w") as file:
            json.dump({"ranks": gathered, "losses": losses}, file)

if __name__ == "__main__":
    launch(main, 2, dist_url="auto", args=(sys.argv[1],))
"""


def test_one_process_runs_right_here():
    seen = []
    launch(lambda *args: seen.append((args, os.getpid())), 1, args=(1, 2))
    assert seen == [((1, 2), os.getpid())]


def test_automatic_address_is_for_one_machine():
    with pytest.raises(AssertionError):
        launch(print, 1, num_machines=2, dist_url="auto")


def test_default_timeout():
    assert DEFAULT_TIMEOUT.total_seconds() == 1800


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="with CUDA it takes as many GPUs")
def test_two_processes_train_on_the_mean_gradient(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    is_lite = "lite" in detectron2.__version__
    # The real one takes the CPU for a GPU unless it is told.
    options = {} if is_lite else {"device_ids": None}
    package = str(Path(detectron2.__file__).parents[1])
    paths = [package, os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [sys.executable, "script.py", "out.json", json.dumps(options)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=300,
    )
    result = json.loads((tmp_path / "out.json").read_text())
    # w goes from 0 by half of mean(1, 3) to 1, and on by half of mean(2 - 1, 6 - 1) to 2.5.
    assert [rank["w"] for rank in result["ranks"]] == [2.5, 2.5]
    assert [rank["local_rank"] for rank in result["ranks"]] == [0, 1]
    assert {rank["size"] for rank in result["ranks"]} == {2}
    assert {rank["ddp"] for rank in result["ranks"]} == {"DistributedDataParallel"}
    assert result["losses"] == [(0.5 + 4.5) / 2, (0.5 + 12.5) / 2]
