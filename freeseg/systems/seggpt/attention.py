"""Attention over a canvas of two halves, with positions that are relative in rows and columns.

Shapes: G groups, n examples of each, m lower halves of each (n, or one that all share), a heads,
h w rows and columns of a half, L = h * w tokens, C width, d = C / a.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK_BYTES = 8 << 20  # of the logits that are in memory at a time on a CPU


class Halves(NamedTuple):
    """Tokens of canvases: examples above, what is to be painted below."""

    upper: Tensor  # [G, n, h, w, C]
    lower: Tensor  # [G, m, h, w, C]

    @property
    def is_shared(self) -> bool:
        """Whether all examples of a group have one lower half."""
        return self.lower.shape[1] < self.upper.shape[1]

    def rows(self) -> Tensor:
        """Whole canvases [G, n, 2h, w, C]."""
        return torch.cat([self.upper, self.lower.expand_as(self.upper)], dim=2)


class CanvasAttention(nn.Module):
    """Multi-head attention of all tokens of a canvas.

    The logit of token (r, c) at (r', c') is ``q k / sqrt(d) + q Rh[r - r'] + q Rw[c - c']``:
    as in ViTDet (Li et al., arXiv 2203.16527) the position terms have the unscaled query.
    """

    def __init__(self, width: int, num_heads: int, grid: tuple[int, int], bias: bool) -> None:
        """Makes it.

        Args:
            width: C.
            num_heads: a.
            grid: Rows and columns of a canvas, (2h, w).
            bias: Of queries, keys and values.
        """
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid[0] - 1, width // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid[1] - 1, width // num_heads))

    def forward(self, tokens: Halves, is_mean: bool, upper_rows: int) -> Halves:
        """What every token takes from its canvas.

        Args:
            tokens: Normalised.
            is_mean: Lower halves get the mean over the examples of their group.
            upper_rows: Only so many rows of the upper half, the last ones, are wanted.
        """
        upper, lower = self._split(tokens.upper), self._split(tokens.lower)  # [3, G, n, a, h, w, d]
        height = tokens.upper.shape[2]
        below = self._below(upper, lower, is_mean)
        query = upper[0][..., height - upper_rows :, :, :]
        start = height - upper_rows
        above = self._attend(query, start, _joined(upper, lower, 1), _joined(upper, lower, 2))
        return Halves(self._merge(above), self._merge(below))

    def _below(self, upper: Tensor, lower: Tensor, is_mean: bool) -> Tensor:
        """Of lower tokens, [G, m, a, h, w, d]."""
        query, height = lower[0], upper.shape[-3]
        if lower.shape[2] == upper.shape[2]:
            keys, values = _joined(upper, lower, 1), _joined(upper, lower, 2)
            found = self._attend(query, height, keys, values)
            return found.mean(1, keepdim=True).expand_as(found) if is_mean else found
        if _wants_fused(query):
            query = query.expand_as(upper[0])
            keys, values = _joined(upper, lower, 1), _joined(upper, lower, 2)
            return self._attend(query, height, keys, values).mean(1, keepdim=True)
        of_rows, of_columns = self._positions(query, height, 2 * height)
        return _shared(query, of_rows, of_columns, (upper[1], lower[1]), (upper[2], lower[2]))

    def _attend(self, query: Tensor, first_row: int, keys: Tensor, values: Tensor) -> Tensor:
        """Of some rows of canvases.

        Args:
            query: [G, n, a, r, w, d].
            first_row: Of the canvas, at which they begin.
            keys: Of whole canvases, [G, n, a, 2h, w, d].
            values: Likewise.
        """
        of_rows, of_columns = self._positions(query, first_row, keys.shape[-3])
        attend = _fused if _wants_fused(query) else _chunked
        return attend(query, of_rows, of_columns, keys, values)

    def _positions(self, query: Tensor, first_row: int, height: int) -> tuple[Tensor, Tensor]:
        """Position terms at the rows and at the columns of a canvas: [..., r, w, 2h], [..., w].

        Args:
            query: [..., r, w, d].
            first_row: The row of the canvas that is the query's first.
            height: 2h.
        """
        rows = slice(first_row, first_row + query.shape[-3])
        table = _relative(self.rel_pos_h, height)[rows]  # [r, 2h, d]
        of_rows = query @ table.mT  # rows of a query are a batch
        of_columns = query.transpose(-3, -2) @ _relative(self.rel_pos_w, query.shape[-2]).mT
        return of_rows, of_columns.transpose(-3, -2)

    def _split(self, tokens: Tensor) -> Tensor:
        """Queries, keys and values [3, G, n, a, h, w, d]."""
        found = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))  # [G, n, h, w, 3, a, d]
        return found.permute(4, 0, 1, 5, 2, 3, 6)

    def _merge(self, heads: Tensor) -> Tensor:
        """[G, n, a, h, w, d] to [G, n, h, w, C]."""
        merged: Tensor = self.proj(heads.permute(0, 1, 3, 4, 2, 5).flatten(-2))
        return merged


def _joined(upper: Tensor, lower: Tensor, which: int) -> Tensor:
    """Keys (1) or values (2) of whole canvases, [G, n, a, 2h, w, d]."""
    return torch.cat([upper[which], lower[which].expand_as(upper[which])], dim=-3)


def _relative(table: Tensor, side: int) -> Tensor:
    """Rows of a table [2 s - 1, d] for every pair of places on a side: [side, side, d].

    One that is for another side is resized linearly.
    """
    if len(table) != 2 * side - 1:
        resized = F.interpolate(table.mT[None], 2 * side - 1, mode="linear", align_corners=False)
        table = resized[0].mT
    places = torch.arange(side, device=table.device)
    return table[places[:, None] - places + side - 1]


def _wants_fused(query: Tensor) -> bool:
    """Whether no map of logits is to be kept; on a CPU chunks are faster where nothing learns."""
    return query.device.type != "cpu" or torch.is_grad_enabled()


def _fused(
    query: Tensor, of_rows: Tensor, of_columns: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """By PyTorch's fused kernels, which take no such bias: the terms become parts of the query.

    A key says by ones where it lies, so that its product with a query has the two terms of there.
    """
    height, width, size = keys.shape[-3:]
    scaled = torch.cat([query * size**-0.5, of_rows, of_columns], dim=-1).flatten(-3, -2)
    where = torch.cat(
        [
            torch.eye(height)[:, None].expand(-1, width, -1),
            torch.eye(width)[None].expand(height, -1, -1),
        ],
        dim=-1,
    ).to(keys)
    placed = torch.cat([keys, where.expand(*keys.shape[:-1], -1)], dim=-1).flatten(-3, -2)
    step = -scaled.shape[-1] % 8  # kernels want equal and even sizes
    padded = F.pad(values.flatten(-3, -2), (0, height + width + step))
    queries, places = (F.pad(each, (0, step)).flatten(0, 1) for each in (scaled, placed))
    found = F.scaled_dot_product_attention(queries, places, padded.flatten(0, 1), scale=1.0)
    return found[..., :size].reshape(query.shape)


def _chunked(
    query: Tensor, of_rows: Tensor, of_columns: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """A few tokens at a time, so that their logits stay in the cache; see `_fused`."""
    flat, bias_rows, bias_columns = (_flat(each) for each in (query, of_rows, of_columns))
    keys, values = _flat(keys), _flat(values)
    parts = []
    for part in _chunks(flat.shape[1], keys):
        bias = bias_rows[:, part, :, None] + bias_columns[:, part, None, :]
        logits = torch.baddbmm(
            bias.flatten(2), flat[:, part], keys.mT, alpha=query.shape[-1] ** -0.5
        )
        parts.append(logits.softmax(-1) @ values)
    return torch.cat(parts, dim=1).reshape(query.shape)


def _shared(
    query: Tensor,
    of_rows: Tensor,
    of_columns: Tensor,
    keys: tuple[Tensor, Tensor],
    values: tuple[Tensor, Tensor],
) -> Tensor:
    """Mean over examples of what a shared lower half takes from each canvas.

    The softmax of a canvas has an upper and a lower part, and the lower logits are those of all
    canvases.

    Args:
        query: [G, 1, a, h, w, d].
        of_rows: [G, 1, a, h, w, 2h].
        of_columns: [G, 1, a, h, w, w].
        keys: Upper [G, n, a, h, w, d] and lower [G, 1, a, h, w, d].
        values: Likewise.
    """
    count = keys[0].shape[1]
    flat, bias_rows, bias_columns = (_flat(each) for each in (query, of_rows, of_columns))
    up_keys, up_values = (each[0].transpose(1, 2).flatten(0, 1) for each in (keys, values))
    up_keys, up_values = up_keys.flatten(1, 3), up_values.flatten(1, 3)  # [G a, n L, d]
    low_keys, low_values = _flat(keys[1]), _flat(values[1])
    scale = query.shape[-1] ** -0.5
    parts = []
    for part in _chunks(flat.shape[1], up_keys):
        bias = (bias_rows[:, part, :, None] + bias_columns[:, part, None, :]).flatten(2)
        up_bias, low_bias = bias.chunk(2, dim=-1)  # [G a, t, L]
        low = torch.baddbmm(low_bias, flat[:, part], low_keys.mT, alpha=scale)
        up = torch.baddbmm(
            up_bias.repeat(1, 1, count), flat[:, part], up_keys.mT, alpha=scale
        ).unflatten(-1, (count, -1))
        top = torch.maximum(up.amax(-1), low.amax(-1, keepdim=True))  # [G a, t, n]
        up = (up - top[..., None]).exp_()
        low_top = low.amax(-1, keepdim=True)
        low = (low - low_top).exp_()
        share = (low_top - top).exp_()  # of the lower part, on the canvas' own scale
        total = (up.sum(-1) + low.sum(-1, keepdim=True) * share) * count
        found = (up / total[..., None]).flatten(2) @ up_values
        parts.append(found + (share / total).sum(-1, keepdim=True) * (low @ low_values))
    return torch.cat(parts, dim=1).reshape(query.shape)


def _flat(heads: Tensor) -> Tensor:
    """[G, n, a, h, w, x] to [G n a, h w, x]."""
    return heads.flatten(-3, -2).flatten(0, 2)


def _chunks(count: int, keys: Tensor) -> list[slice]:
    """Parts of so many tokens whose logits at keys [R, L, d] are no more than `CHUNK_BYTES`."""
    step = max(CHUNK_BYTES // (keys.shape[0] * keys.shape[1] * keys.element_size()), 1)
    return [slice(start, start + step) for start in range(0, count, step)]
