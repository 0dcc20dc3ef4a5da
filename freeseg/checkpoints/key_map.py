"""Names of weights in another release, as data: what is called how here, and what is no weight."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

State = dict[str, Tensor]
Renaming = tuple[str, str | Callable[["re.Match[str]"], str]]  # as re.sub takes them


@dataclass(frozen=True)
class Conversion:
    """A converted state dict, and what became of the original's keys."""

    state: State
    renamed: dict[str, str]  # old key -> new key, where they differ
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class KeyMap:
    """How the keys of one release become ours.

    Attributes:
        source: Whose weights these are, for people.
        renames: (regular expression, replacement) pairs; each is applied to every key, in order.
        drops: Regular expressions of whole keys that hold nothing learned.
        combine: Joins or splits tensors, after the renaming.
        mark: Regular expression that the start of some key matches in this release and in no
            release whose `rank` is higher.
        rank: When the owner of a checkpoint is sought, lower ones are tried first.
    """

    source: str
    renames: tuple[Renaming, ...] = ()
    drops: tuple[str, ...] = ()
    combine: Callable[[State], State] | None = None
    mark: str = ""
    rank: int = 0

    def convert(self, state: Mapping[str, Tensor]) -> Conversion:
        """Our state dict of the release's.

        Raises:
            ValueError: When two keys get one name.
        """
        renamed: dict[str, str] = {}
        dropped = []
        converted: State = {}
        for key, value in state.items():
            if self.is_dropped(key):
                dropped.append(key)
                continue
            name = self.rename(key)
            if name in converted:
                raise ValueError(f"two weights would both be called {name}, one is {key}")
            converted[name] = value
            if name != key:
                renamed[key] = name
        if self.combine is not None:
            converted = self.combine(converted)
        return Conversion(converted, renamed, tuple(dropped))

    def rename(self, key: str) -> str:
        """The name here of a weight there."""
        for pattern, replacement in self.renames:
            key = re.sub(pattern, replacement, key)
        return key

    def is_dropped(self, key: str) -> bool:
        """True for what holds nothing learned."""
        return any(re.fullmatch(pattern, key) for pattern in self.drops)

    def drop_from(self, state: State) -> None:
        """Removes from a state dict, in place, what holds nothing learned."""
        for key in [key for key in state if self.is_dropped(key)]:
            del state[key]
