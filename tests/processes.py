"""Processes as threads: what they gather and sum is exchanged, everything else is as it is."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from detectron2.utils import comm


class Processes:
    """Runs functions side by side, each as a process of its own of one group."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int) -> None:
        self.number = number
        self._here = threading.local()
        self._barrier = threading.Barrier(number, timeout=60)
        self._slots: list[Any] = [None] * number
        patch.setattr(torch.distributed, "all_reduce", self._sum)
        functions = {
            "get_world_size": lambda: number,
            "get_rank": lambda: self._rank,
            "is_main_process": lambda: self._rank == 0,
            "synchronize": self._exchange,
            "all_gather": lambda data, group=None: self._exchange(data),
            "gather": self._gather,
        }
        for name, function in functions.items():
            original = getattr(comm, name)
            for module in list(sys.modules.values()):  # some import the functions themselves
                if getattr(module, "__dict__", {}).get(name) is original:
                    patch.setattr(module, name, function)

    def run(self, functions: Sequence[Callable[[], Any]]) -> list[Any]:
        """What each function gives; an error of one is raised."""
        results: list[Any] = [None] * self.number
        errors = []

        def process(rank: int) -> None:
            self._here.rank = rank
            try:
                results[rank] = functions[rank]()
            except Exception as error:
                errors.append(error)
                self._barrier.abort()

        threads = [threading.Thread(target=process, args=(rank,)) for rank in range(self.number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    @property
    def _rank(self) -> int:
        return getattr(self._here, "rank", 0)

    def _exchange(self, data: Any = None) -> list[Any]:
        self._slots[self._rank] = data
        self._barrier.wait()
        everybodys = list(self._slots)
        self._barrier.wait()  # nobody writes the next before all have read
        return everybodys

    def _gather(self, data: Any, dst: int = 0, group: Any = None) -> list[Any]:
        everybodys = self._exchange(data)
        return everybodys if self._rank == dst else []

    def _sum(self, tensor: torch.Tensor) -> None:
        total = torch.stack(self._exchange(tensor.clone())).sum(0)
        tensor.copy_(total)
