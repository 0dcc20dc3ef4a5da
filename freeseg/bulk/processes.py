"""Plain processes that segment pieces; one that dies is replaced, and its piece is done again."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from freeseg.bulk.worker import ModelSettings, Worker

logger = logging.getLogger(__name__)

UNUSABLE = -1  # instead of a count: the model cannot be built
START_METHOD = "spawn"  # CUDA does not outlive a fork
MAX_ATTEMPTS = 2  # a piece whose process dies as often is given up, and named in the report


@dataclass(frozen=True)
class Done:
    """What became of a piece."""

    chunk: int
    count: int = 0
    error: str = ""


def run_in_processes(
    chunks: Iterable[int], model: ModelSettings, out: str, form: str, num_processes: int
) -> Iterator[Done]:
    """Segments pieces in so many processes (0: in this one), and yields each when it is done."""
    if num_processes == 0:
        worker = Worker(model, out, form)
        for chunk in chunks:
            yield Done(chunk, worker.run(chunk))
        return
    pool = _Pool((model, out, form))
    try:
        yield from pool.run(iter(chunks), num_processes)
    finally:
        pool.end()


@dataclass
class _Member:
    process: BaseProcess
    pipe: Connection
    chunk: int
    attempt: int


class _Pool:
    """Processes with one piece each in hand; nothing is queued, so nothing can be lost."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments
        self._context: Any = multiprocessing.get_context(START_METHOD)
        self._members: list[_Member] = []
        self._processes: list[BaseProcess] = []

    def run(self, chunks: Iterator[int], num_processes: int) -> Iterator[Done]:
        for chunk in chunks:
            self._start(chunk, attempt=1)
            if len(self._members) == num_processes:
                break
        while self._members:
            ready = wait([member.pipe for member in self._members])
            for member in [one for one in self._members if one.pipe in ready]:
                done = self._receive(member)
                if done is None:
                    continue
                yield done
                following = next(chunks, None)
                if following is None:
                    self._dismiss(member)
                elif member.process.is_alive() and not done.error:
                    member.chunk, member.attempt = following, 1
                    self._send(member)
                else:
                    self._dismiss(member)
                    self._start(following, attempt=1)

    def _receive(self, member: _Member) -> Done | None:
        """A piece that is done or given up; None when it is tried again."""
        try:
            count, error = member.pipe.recv()
        except (EOFError, OSError):  # it died
            member.process.join()
            how = f"its process ended with exit code {member.process.exitcode}"
            if member.attempt < MAX_ATTEMPTS:
                logger.warning("piece %d: %s; it is tried again", member.chunk, how)
                self._dismiss(member)
                self._start(member.chunk, member.attempt + 1)
                return None
            return Done(member.chunk, error=f"piece {member.chunk}: {how}, twice")
        if count == UNUSABLE:
            raise ValueError(error)
        return Done(member.chunk, count, error)

    def _start(self, chunk: int, attempt: int) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        process.start()
        self._processes.append(process)
        theirs.close()  # so that its death closes the pipe
        member = _Member(process, ours, chunk, attempt)
        self._members.append(member)
        self._send(member)

    def _send(self, member: _Member) -> None:
        with contextlib.suppress(OSError):  # it died: receiving will say so
            member.pipe.send(member.chunk)

    def _dismiss(self, member: _Member) -> None:
        self._members.remove(member)
        member.pipe.close()
        member.process.terminate()  # it has nothing in hand

    def end(self) -> None:
        for member in list(self._members):
            self._dismiss(member)
        for process in self._processes:
            process.join()


def _serve(pipe: Connection, model: ModelSettings, out: str, form: str) -> None:
    """Segments the pieces that come through the pipe, until nobody is at its other end."""
    try:
        try:
            worker = Worker(model, out, form)
        except (ImportError, OSError, ValueError) as error:  # no process could do better
            pipe.send((UNUSABLE, str(error)))
            return
        while True:
            chunk = pipe.recv()
            try:
                pipe.send((worker.run(chunk), ""))
            except OSError as error:  # a full disk, say: the others go on
                pipe.send((0, f"piece {chunk}: {error}"))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
