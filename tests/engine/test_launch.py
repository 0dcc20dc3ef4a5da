from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessException

from detectron2.utils import comm
from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.problems import RefusalError
from freeseg.engine import launch
from freeseg.engine.launch import TORCHRUN, end_children
from freeseg.files import WriteError


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


def note(folder: str, name: str) -> None:
    """What a process knows of itself and of the others."""
    ranks = comm.all_gather(comm.get_rank())
    content = {
        "ranks": ranks,
        "local": [comm.get_local_rank(), comm.get_local_size(), comm.get_world_size()],
        "threads": torch.get_num_threads(),
    }
    Path(folder, f"{name}-{comm.get_rank()}").write_text(json.dumps(content))


def notes(folder: Path) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in folder.iterdir()}


def in_a_copy(function, *arguments) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


@pytest.mark.parametrize(("threads", "each"), [(5, 2), (1, 1)])
def test_processes_know_each_other_and_share_the_threads(
    forking, tmp_path, monkeypatch, threads, each
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    given = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)  # of the copies

    def noted(folder, name):
        torch.get_num_threads = lambda: given[-1]
        note(folder, name)

    launch(noted, 2, device="cpu", args=(str(tmp_path), "a"))
    assert notes(tmp_path) == {
        f"a-{rank}": {"ranks": [0, 1], "local": [rank, 2, 2], "threads": each} for rank in range(2)
    }
    assert not dist.is_initialized()
    assert given == []


def test_machines_are_numbered_through(forking, tmp_path):
    (tmp_path / "notes").mkdir()

    def machine(rank):
        options = {
            "num_machines": 2,
            "machine_rank": rank,
            "dist_url": f"file://{tmp_path}/meeting",
        }
        launch(note, 1, device="cpu", args=(str(tmp_path / "notes"), f"m{rank}"), **options)

    machines = [in_a_copy(machine, rank) for rank in range(2)]
    for process in machines:
        process.join(60)
    assert [process.exitcode for process in machines] == [0, 0]
    found = {name: one["local"] for name, one in notes(tmp_path / "notes").items()}
    assert found == {"m0-0": [0, 1, 2], "m1-1": [0, 1, 2]}


@pytest.mark.parametrize("name", [None, *TORCHRUN])
def test_all_of_torchruns_variables_make_a_member_of_its_group(forking, tmp_path, name):
    told = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    with socket.socket() as free:
        free.bind(("localhost", 0))
        told |= {"MASTER_ADDR": "localhost", "MASTER_PORT": free.getsockname()[1]}

    def member():
        os.environ.update({key: str(value) for key, value in told.items() if key != name})

        def noted():
            (tmp_path / str(dist.is_initialized())).touch()
            assert not dist.is_initialized() or comm.get_local_size() == 1

        launch(noted, 1, device="cpu")
        (tmp_path / f"after {dist.is_initialized()}").touch()

    process = in_a_copy(member)
    process.join(60)
    assert process.exitcode == 0
    assert {path.name for path in tmp_path.iterdir()} == {str(name is None), "after False"}


REFUSALS = {
    "problems": (RefusalError(["first", "second"]), ("first", "second")),
    "data": (MissingDataError("no such set"), ("no such set",)),
    "disk": (WriteError("x cannot be written: full"), ("x cannot be written: full",)),
}


@pytest.mark.parametrize(("fault", "problems"), REFUSALS.values(), ids=REFUSALS)
def test_what_a_user_has_to_mend_comes_out_as_it_was_said(forking, fault, problems, capfd):
    def refuse():
        raise fault

    with pytest.raises(RefusalError) as told:
        launch(refuse, 2, device="cpu")
    assert told.value.problems == problems
    assert told.value.__suppress_context__


def test_a_bug_in_a_process_keeps_its_traceback(forking, capfd):
    with pytest.raises(ProcessException, match="ZeroDivisionError"):
        launch(lambda: 1 / 0, 2, device="cpu")


@pytest.mark.parametrize("available", [2, 3])
def test_gpus_are_detectron2s_launchers(monkeypatch, available):
    asked = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: available)
    module = sys.modules[launch.__module__]
    monkeypatch.setattr(module, "launch_on_gpus", lambda main, *rest: asked.append((main(3), rest)))
    said = []
    launch(said.append, 2, device="cuda:0", args=("x",))
    launch(said.append, 1, device="cuda", num_machines=3, machine_rank=2, dist_url="tcp://a:1")
    assert said == [3, 3]
    (_, first), (_, second) = asked
    assert first[:3] == (2, 1, 0)
    assert first[3].startswith("file:///")
    assert first[4] == ("x",)
    assert second == (1, 3, 2, "tcp://a:1", ())


def test_one_gpu_more_than_there_is_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="--num-gpus 3, but this machine has 2"):
        launch(print, 3, device="cuda")


def test_children_are_asked_twice_before_they_are_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(sys.modules[launch.__module__], "PATIENCE", 0.3)

    def stubborn(deaf_to):
        for number in (signal.SIGINT, signal.SIGTERM):
            if number in deaf_to:
                signal.signal(number, lambda n, _: (tmp_path / f"{len(deaf_to)}-{n}").touch())
            else:
                signal.signal(number, signal.SIG_DFL)
        (tmp_path / f"ready-{len(deaf_to)}").touch()
        while True:
            time.sleep(9)

    deaf = [(), (signal.SIGINT,), (signal.SIGINT, signal.SIGTERM)]
    children = [in_a_copy(stubborn, one) for one in deaf]
    quiet = in_a_copy(int)  # ends by itself
    while len(list(tmp_path.glob("ready-*"))) < 3:
        time.sleep(0.01)
    end_children()
    assert [child.exitcode for child in (*children, quiet)] == [-2, -15, -9, 0]
    assert {path.name for path in tmp_path.glob("[12]-*")} == {"1-2", "2-2", "2-15"}


def test_ctrl_c_ends_the_children_and_goes_on(monkeypatch):
    ended = []
    module = sys.modules[launch.__module__]
    monkeypatch.setattr(module, "end_children", lambda: ended.append(1))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "start_processes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch(print, 2, device="cpu")
    assert ended == [1]
