"""Pieces in processes of their own: each is done once, few are in hand, nobody is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from freeseg.bulk import processes
from freeseg.bulk.processes import UNUSABLE, Done, run_in_processes
from freeseg.bulk.worker import ModelSettings


class Script:
    """In place of a worker: what a piece does is told by its number, and leaves a note."""

    def __init__(self, model, out, form):
        assert (model, form) == (ModelSettings(task="all"), "webdataset")
        self.folder = Path(out)
        (self.folder / f"built-{os.getpid()}").touch()
        if (self.folder / "unusable").exists():
            raise ValueError("there are no weights")

    def run(self, chunk):
        tries = len(list(self.folder.glob(f"piece-{chunk}-*")))
        (self.folder / f"piece-{chunk}-{tries}-{os.getpid()}").touch()
        if chunk == 3 and tries == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if chunk == 5:
            os._exit(7)
        if chunk == 8:
            raise OSError(28, "No space left on device")
        return 100 + chunk


@pytest.fixture
def script(forking, monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "Worker", Script)

    def run(chunks, num_processes):
        arguments = (ModelSettings(task="all"), str(tmp_path), "webdataset")
        return run_in_processes(chunks, *arguments, num_processes)

    yield run
    assert multiprocessing.active_children() == []


def notes(folder: Path, what: str) -> list[str]:
    return [path.name for path in folder.glob(f"{what}-*")]


def plain(chunk: int) -> Done:
    return Done(chunk, 100 + chunk, "")


@pytest.mark.parametrize("num_processes", [0, 1, 3, 6])
def test_every_piece_is_done_once_by_so_many_processes(script, tmp_path, num_processes):
    chunks = [0, 1, 2, 4, 6]
    found = list(script(chunks, num_processes))
    assert sorted(found, key=lambda done: done.chunk) == list(map(plain, chunks))
    assert sorted(notes(tmp_path, "piece"))[0].startswith("piece-0-0-")
    assert len(notes(tmp_path, "piece")) == 5
    assert len(notes(tmp_path, "built")) == max(1, min(num_processes, 5))
    if num_processes < 2:
        assert [done.chunk for done in found] == chunks


def test_no_pieces_need_no_process(script, tmp_path):
    assert list(script([], 2)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("num_processes", [1, 2])
def test_pieces_are_drawn_when_somebody_is_free(script, num_processes):
    drawn = []
    running = script((drawn.append(chunk) or chunk for chunk in [0, 1, 2, 4, 6, 7]), num_processes)
    for count, _ in enumerate(running):
        assert len(drawn) == min(6, count + num_processes)


def test_what_ends_a_process_costs_two_of_them_and_a_full_disk_one(script, tmp_path):
    found = {done.chunk: done for done in script(range(10), 2)}
    assert len(found) == 10
    assert found.pop(5) == Done(5, 0, "piece 5: its process ended with exit code 7, twice")
    assert found.pop(8) == Done(8, 0, "piece 8: [Errno 28] No space left on device")
    assert list(found.values()) == list(map(plain, found))
    tries = {int(name.split("-")[1]) for name in notes(tmp_path, "piece") if "-1-" in name[7:10]}
    assert tries == {3, 5}
    assert len(notes(tmp_path, "piece")) == 12
    workers = {}
    for name in notes(tmp_path, "piece"):
        workers.setdefault(name.split("-")[-1], []).append(int(name.split("-")[1]))
    with_eight = next(chunks for chunks in workers.values() if 8 in chunks)
    assert max(with_eight) == 8, "its process takes no other piece"


def test_tries_are_counted_for_each_piece(script):
    assert [done.error for done in script([3, 5, 3], 1)] == [
        "",
        "piece 5: its process ended with exit code 7, twice",
        "",
    ]


def test_a_piece_after_one_that_failed_is_tried_as_often(script):
    full = "piece 8: [Errno 28] No space left on device"
    assert [(done.chunk, done.error) for done in script([8, 3, 0], 1)] == [
        (8, full),
        (3, ""),
        (0, ""),
    ]


def test_a_model_that_cannot_be_built_ends_the_job_at_once(script, tmp_path):
    (tmp_path / "unusable").touch()
    for num_processes in (0, 2):
        with pytest.raises(ValueError, match=r"^there are no weights$"):
            list(script(range(9), num_processes))
    assert notes(tmp_path, "piece") == []
    assert 2 <= len(notes(tmp_path, "built")) <= 3


def test_who_stops_listening_leaves_no_process(script):
    running = script([0, 1, 2, 4], 2)
    next(running)
    assert len(multiprocessing.active_children()) == 2
    running.close()


class Told:
    """A worker for a thread of this process."""

    def __init__(self, model, out, form):
        if out == "unusable":
            raise OSError("model.pth does not exist")
        self.arguments = (model, out, form)

    def run(self, chunk):
        if chunk == 8:
            raise OSError(28, "No space left on device")
        if chunk == 9:
            raise KeyboardInterrupt
        return 100 + chunk


@pytest.fixture
def serving(monkeypatch):
    """Our end of a pipe at whose other end a thread serves."""
    monkeypatch.setattr(processes, "Worker", Told)
    started = []

    def serve(out):
        ours, theirs = multiprocessing.Pipe()
        thread = threading.Thread(target=processes._serve, args=(theirs, "model", out, "jsonl"))
        thread.start()
        started.append((thread, ours, theirs))
        return ours

    yield serve
    for thread, ours, theirs in started:
        ours.close()
        thread.join(20)
        assert not thread.is_alive()
        theirs.close()


def answer(pipe):
    assert pipe.poll(20)
    return pipe.recv()


def test_who_serves_answers_each_piece_until_nobody_asks(serving):
    pipe = serving("out")
    for chunk, expected in (
        (4, (104, "")),
        (8, (0, "piece 8: [Errno 28] No space left on device")),
    ):
        pipe.send(chunk)
        assert answer(pipe) == expected
    pipe.send(6)
    assert answer(pipe) == (106, "")
    pipe.send(9)  # Ctrl-C reaches every process: each ends without a word
    assert not pipe.poll(0.05)


def test_who_cannot_serve_says_why_and_ends(serving):
    assert answer(serving("unusable")) == (UNUSABLE, "model.pth does not exist")
