"""Decoder queries in named groups, and who sees whom among them.

Shapes: B images, Q queries (Q_g of group g), C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ANYONE = -1  # owner of a query that queries of every owner may see, and that sees them all


@dataclass(frozen=True)
class QueryGroup:
    """Queries of one kind.

    Attributes:
        name: What other groups call it.
        content: [B, Q_g, C], refined by the decoder.
        position: [B, Q_g, C], added to queries and keys of every attention, never changed.
        reads: Names of the groups it sees in self-attention; None means every group.
        owners: int64 [Q_g], the request each query belongs to, or None when all are `ANYONE`'s.
        reads_image: False for queries that never attend to the pixels.
    """

    name: str
    content: Tensor
    position: Tensor
    reads: tuple[str, ...] | None = None
    owners: Tensor | None = None
    reads_image: bool = True

    def __post_init__(self) -> None:
        if self.content.shape != self.position.shape:
            raise ValueError(
                f"group {self.name!r}: content {tuple(self.content.shape)} and position "
                f"{tuple(self.position.shape)} must have one shape [B, Q, C]"
            )
        if self.owners is not None and self.owners.shape != self.content.shape[1:2]:
            raise ValueError(
                f"group {self.name!r}: wanted one owner for each of {self.content.shape[1]} "
                f"queries, got shape {tuple(self.owners.shape)}"
            )

    def __len__(self) -> int:
        return self.content.shape[1]


class QuerySet:
    """An ordered set of query groups, seen by a decoder as one sequence.

    Args:
        groups: Groups with distinct names and equal batch size and width.

    Raises:
        ValueError: On no group, a repeated name, or a group that reads an unknown one.
    """

    def __init__(self, groups: Sequence[QueryGroup]) -> None:
        names = [group.name for group in groups]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"wanted at least one group, each with its own name, got {names}")
        for group in groups:
            unknown = set(group.reads or ()) - set(names)
            if unknown:
                raise ValueError(f"group {group.name!r} reads {sorted(unknown)}, known: {names}")
        self.groups = tuple(groups)

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def content(self) -> Tensor:
        """[B, Q, C]."""
        return torch.cat([group.content for group in self.groups], dim=1)

    def position(self) -> Tensor:
        """[B, Q, C]."""
        return torch.cat([group.position for group in self.groups], dim=1)

    def visibility(self) -> Tensor | None:
        """Bool [B, Q, Q], True where the row's query sees the column's; None when all see all."""
        if all(group.reads is None and group.owners is None for group in self.groups):
            return None
        rows = [
            torch.cat([self._sees(reader, other) for other in self.groups], dim=1)
            for reader in self.groups
        ]
        visible = torch.cat(rows, dim=0)  # [Q, Q]
        return visible.expand(self.groups[0].content.shape[0], -1, -1)

    def reads_image(self) -> Tensor | None:
        """Bool [Q], True for queries that attend to pixels; None when all do."""
        if all(group.reads_image for group in self.groups):
            return None
        return torch.cat(
            [group.content.new_full((len(group),), group.reads_image) for group in self.groups]
        ).bool()

    def split(self, queries: Tensor) -> dict[str, Tensor]:
        """Cuts a [B, Q, ...] tensor back into its groups, by name."""
        parts = queries.split([len(group) for group in self.groups], dim=1)
        return {group.name: part for group, part in zip(self.groups, parts)}

    @staticmethod
    def _sees(reader: QueryGroup, other: QueryGroup) -> Tensor:
        """Bool [Q_reader, Q_other]."""
        if reader.reads is not None and other.name not in reader.reads:
            return torch.zeros(
                len(reader), len(other), dtype=torch.bool, device=reader.content.device
            )
        mine, theirs = _owners(reader)[:, None], _owners(other)[None, :]
        return (mine == theirs) | (mine == ANYONE) | (theirs == ANYONE)


def _owners(group: QueryGroup) -> Tensor:
    if group.owners is not None:
        return group.owners
    return torch.full((len(group),), ANYONE, dtype=torch.int64, device=group.content.device)
