import torch

from detectron2.engine import launch
from detectron2.utils import comm


def test_alone():
    assert (comm.get_world_size(), comm.get_rank(), comm.get_local_rank()) == (1, 0, 0)
    assert comm.get_local_size() == 1
    assert comm.is_main_process()
    assert comm.all_gather({"a": 1}) == [{"a": 1}]
    assert comm.gather("x") == ["x"]
    losses = {"loss": torch.tensor(2.0)}
    assert comm.reduce_dict(losses) == losses
    assert 0 <= comm.shared_random_seed() < 2**31
    comm.synchronize()


def _work(folder):
    rank = comm.get_rank()
    reduced = comm.reduce_dict({"b": torch.tensor(rank + 1.0), "a": torch.tensor(10.0 * rank)})
    results = {
        "ranks": (comm.get_world_size(), comm.get_rank(), comm.get_local_rank()),
        "local_size": comm.get_local_size(),
        "main": comm.is_main_process(),
        "all_gather": comm.all_gather(("from", rank)),
        "gather": comm.gather(rank, dst=1),
        "seed": comm.shared_random_seed(),
        "reduced": {name: value.item() for name, value in reduced.items()},
    }
    torch.save(results, f"{folder}/{rank}.pt")


def test_two_processes(tmp_path):
    launch(_work, 2, dist_url="auto", args=(str(tmp_path),))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["ranks"] == (2, 0, 0)
    assert second["ranks"] == (2, 1, 1)
    assert first["local_size"] == second["local_size"] == 2
    assert (first["main"], second["main"]) == (True, False)
    assert first["all_gather"] == second["all_gather"] == [("from", 0), ("from", 1)]
    assert (first["gather"], second["gather"]) == ([], [0, 1])
    assert first["seed"] == second["seed"]
    assert first["reduced"] == {"a": 5.0, "b": 1.5}
