"""Decoder queries in named groups, and who sees whom among them.

Shapes: B images, Q queries (Q_g of group g), K tokens of a level, C channels, H W mask size.
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
        owners: int64 [Q_g], or [B, Q_g] where images differ: the request each query belongs to;
            None when all are `ANYONE`'s.
        reads_image: False for queries that never attend to the pixels.
        padding: Bool [B, Q_g], True for rows that are there only to make images alike: nobody sees
            them. None: there are none.
        guide: [B, Q_g, H, W], mask logits that its queries look inside instead of their own.
    """

    name: str
    content: Tensor
    position: Tensor
    reads: tuple[str, ...] | None = None
    owners: Tensor | None = None
    reads_image: bool = True
    padding: Tensor | None = None
    guide: Tensor | None = None

    def __post_init__(self) -> None:
        if self.content.shape != self.position.shape:
            raise ValueError(
                f"group {self.name!r}: content {tuple(self.content.shape)} and position "
                f"{tuple(self.position.shape)} must have one shape [B, Q, C]"
            )
        rows = tuple(self.content.shape[:2])
        if self.owners is not None and tuple(self.owners.shape) not in (rows, rows[1:]):
            raise ValueError(
                f"group {self.name!r}: wanted one owner for each of {rows[1]} queries, of one "
                f"image or of each of {rows[0]}, got shape {tuple(self.owners.shape)}"
            )
        for name, given, wanted in (("padding", self.padding, 2), ("guide", self.guide, 4)):
            if given is not None and (given.dim() != wanted or tuple(given.shape[:2]) != rows):
                raise ValueError(
                    f"group {self.name!r}: {name} of shape {tuple(given.shape)} is not of "
                    f"{rows[0]} images and {rows[1]} queries"
                )

    def __len__(self) -> int:
        return self.content.shape[1]


@dataclass(frozen=True)
class TokenGroup:
    """What queries see beside each other, taken anew before every layer; layers do not change it.

    Attributes:
        name: What groups of queries that read it call it.
        levels: [B, K, C] for every level of the pyramid, each of its own K; content and position.
        owners: int64 [K] or [B, K] for every level, as of a `QueryGroup`; None: `ANYONE`'s.
        padding: Bool [B, K] for every level; None: there is none.
    """

    name: str
    levels: tuple[Tensor, ...]
    owners: tuple[Tensor, ...] | None = None
    padding: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        for name, given in (("owners", self.owners), ("padding", self.padding)):
            rows = [tuple(content.shape[:2]) for content in self.levels]
            fits = [rows, [row[1:] for row in rows]] if name == "owners" else [rows]
            if given is not None and [tuple(part.shape) for part in given] not in fits:
                raise ValueError(
                    f"tokens {self.name!r}: {name} of shapes {[tuple(p.shape) for p in given]} are "
                    f"not of tokens {rows}"
                )


class QuerySet:
    """An ordered set of query groups, seen by a decoder as one sequence, and tokens beside them.

    Args:
        groups: Groups with distinct names and equal batch size and width.
        tokens: With names of their own; seen by groups that read all, or name them.

    Raises:
        ValueError: On no group, a repeated name, or a group that reads an unknown one.
    """

    def __init__(self, groups: Sequence[QueryGroup], tokens: Sequence[TokenGroup] = ()) -> None:
        members: list[QueryGroup | TokenGroup] = [*groups, *tokens]
        names = [member.name for member in members]
        if not groups or len(set(names)) != len(names):
            raise ValueError(f"wanted at least one group, each with its own name, got {names}")
        for group in groups:
            unknown = set(group.reads or ()) - set(names)
            if unknown:
                raise ValueError(f"group {group.name!r} reads {sorted(unknown)}, known: {names}")
        self.groups, self.token_groups = tuple(groups), tuple(tokens)

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def content(self) -> Tensor:
        """[B, Q, C]."""
        return torch.cat([group.content for group in self.groups], dim=1)

    def position(self) -> Tensor:
        """[B, Q, C]."""
        return torch.cat([group.position for group in self.groups], dim=1)

    def tokens(self, level: int) -> Tensor | None:
        """[B, K, C] of a level of the pyramid; None when there are none."""
        if not self.token_groups:
            return None
        return torch.cat([group.levels[level] for group in self.token_groups], dim=1)

    def visibility(self, level: int = 0) -> Tensor | None:
        """Bool [B, Q, Q + K], True where the row's query sees the column's query or token.

        Padding is seen by nobody; a query that would see nothing sees itself. None when all see
        all.

        Args:
            level: Of the pyramid, which tokens depend on.
        """
        if all(map(_is_open, self.groups)) and all(map(_is_open, self.token_groups)):
            return None
        seen = [(group.name, _rows(group)) for group in self.groups]
        seen += [(group.name, _token_rows(group, level)) for group in self.token_groups]
        visible = torch.cat(
            [
                torch.cat([_sees(reader, name, rows) for name, rows in seen], dim=2)
                for reader in self.groups
            ],
            dim=1,
        )
        blind = ~visible.any(-1)  # [B, Q]
        visible[..., : len(self)] |= torch.diag_embed(blind)
        return visible

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


@dataclass(frozen=True)
class _Rows:
    """Who owns queries or tokens, int64 [B, N], and which of them are none, bool [B, N]."""

    owners: Tensor
    padding: Tensor


def _is_open(group: QueryGroup | TokenGroup) -> bool:
    reads_all = isinstance(group, TokenGroup) or group.reads is None
    return reads_all and group.owners is None and group.padding is None


def _rows(group: QueryGroup) -> _Rows:
    return _of_content(group.content, group.owners, group.padding)


def _token_rows(group: TokenGroup, level: int) -> _Rows:
    owners = None if group.owners is None else group.owners[level]
    padding = None if group.padding is None else group.padding[level]
    return _of_content(group.levels[level], owners, padding)


def _of_content(content: Tensor, owners: Tensor | None, padding: Tensor | None) -> _Rows:
    shape, device = content.shape[:2], content.device
    if owners is None:
        owners = torch.full((1, 1), ANYONE, dtype=torch.int64, device=device)
    if padding is None:
        padding = torch.zeros((1, 1), dtype=torch.bool, device=device)
    return _Rows(owners.expand(shape), padding.expand(shape))


def _sees(reader: QueryGroup, name: str, others: _Rows) -> Tensor:
    """Bool [B, Q_reader, N]."""
    mine, theirs = _rows(reader).owners[:, :, None], others.owners[:, None]
    if reader.reads is not None and name not in reader.reads:
        return torch.zeros_like(mine == theirs)
    sees = (mine == theirs) | (mine == ANYONE) | (theirs == ANYONE)
    return sees & ~others.padding[:, None]
