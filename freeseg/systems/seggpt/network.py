"""The painting network: a plain ViT over canvases, and a decoder that paints pixels.

Shapes: G groups (queries, or pairs in training), n examples of each, m lower halves (n, or one that
all share), S side of a picture, P of a patch, h = w = S / P, C width, D decoder's, T taps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.systems.seggpt.attention import CanvasAttention, Halves

DECODER_EPS = 1e-6  # of its norm, whatever that of the blocks is


@dataclass(frozen=True)
class PaintingSizes:
    """Sizes of a network; the defaults are those of the published one.

    Attributes:
        side: S of the pictures.
        patch: P.
        width: C.
        depth: Number of blocks.
        num_heads: Of each.
        mlp_ratio: Of the width.
        qkv_bias: Whether queries, keys and values have one.
        norm_eps: Of the blocks' norms and the one behind them.
        pretrain_grid: Rows and columns of the table of absolute positions.
        table_side: S of the pictures for which tables of relative positions are, which are resized
            for others; 0: `side`.
        merge_block: Behind which photos and targets become one.
        taps: Blocks whose tokens are decoded, all of them later.
        decoder_width: D.
        drop_path: Of the last block, in training; none of the first, linear between.
        has_kinds: Whether there are type tokens, which Painter has not.
    """

    side: int = 448
    patch: int = 16
    width: int = 1024
    depth: int = 24
    num_heads: int = 16
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    norm_eps: float = 1e-6
    pretrain_grid: int = 14
    table_side: int = 0
    merge_block: int = 2
    taps: tuple[int, ...] = (5, 11, 17, 23)
    decoder_width: int = 64
    drop_path: float = 0.1
    has_kinds: bool = True

    def __post_init__(self) -> None:
        for side in (self.side, self.table_side or self.side):
            if side < self.patch or side % self.patch:
                raise ValueError(f"a side is a multiple of the patch {self.patch}, got {side}")
        if not self.taps or list(self.taps) != sorted(set(self.taps)):
            raise ValueError(f"taps are numbers of blocks in order, got {self.taps}")
        if not 0 <= self.merge_block < self.taps[0] or self.taps[-1] >= self.depth:
            raise ValueError(
                f"taps {self.taps} stand behind the merging block {self.merge_block} "
                f"and before {self.depth}"
            )
        if self.width % self.num_heads:
            raise ValueError(f"{self.num_heads} heads do not divide a width of {self.width}")

    @property
    def table_grid(self) -> int:
        """Rows and columns of the pictures that the tables are for."""
        return (self.table_side or self.side) // self.patch


class Mlp(nn.Module):
    """Two linear layers, GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return found


class Block(nn.Module):
    """Attention over the canvas and a perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, sizes: PaintingSizes, drop_path: float) -> None:
        super().__init__()
        width, grid = sizes.width, sizes.table_grid
        self.norm1 = nn.LayerNorm(width, eps=sizes.norm_eps)
        self.attn = CanvasAttention(width, sizes.num_heads, (2 * grid, grid), sizes.qkv_bias)
        self.norm2 = nn.LayerNorm(width, eps=sizes.norm_eps)
        self.mlp = Mlp(width, int(width * sizes.mlp_ratio))
        self.drop_path = drop_path

    def forward(self, tokens: Halves, is_mean: bool = False, upper_rows: int = 0) -> Halves:
        """Tokens after the block.

        Args:
            tokens: Before it.
            is_mean: Lower halves take the mean over the examples of their group.
            upper_rows: Only so many rows of the upper half, the last ones; 0: all.
        """
        upper_rows = upper_rows or tokens.upper.shape[2]
        found = self.attn(Halves(*map(self.norm1, tokens)), is_mean, upper_rows)
        upper, lower = tokens.upper[:, :, -upper_rows:], tokens.lower
        halves = []
        for half, taken in zip((upper, lower), self._dropped(found)):
            halves.append(half + taken)
        grown = Halves(*(self.mlp(self.norm2(half)) for half in halves))
        return Halves(*(half + more for half, more in zip(halves, self._dropped(grown))))

    def _dropped(self, found: Halves) -> Halves:
        """In training some canvases, both halves of each, pass the block by."""
        if not (self.training and self.drop_path):
            return found
        ones = found.upper.new_ones(*found.upper.shape[:2], 1, 1, 1)
        kept = F.dropout(ones, self.drop_path)
        return Halves(found.upper * kept, found.lower * kept)


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of every pixel of maps [N, C, H, W]."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PaintingNetwork(nn.Module):
    """SegGPT's network (Wang et al., arXiv 2304.03284), and Painter's, which has no kinds.

    A canvas is an example above a query. Photos and targets are two streams up to a block, one from
    there on. With several examples of a query the lower halves are their mean in every block, so
    that one is computed for all (`Halves.is_shared`).
    """

    def __init__(self, sizes: PaintingSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, patch, grid = sizes.width, sizes.patch, sizes.pretrain_grid
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.mask_token = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.segment_token_x = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.segment_token_y = nn.Parameter(torch.zeros(1, 1, 1, width))
        if sizes.has_kinds:
            self.type_token_cls = nn.Parameter(torch.zeros(1, 1, 1, width))
            self.type_token_ins = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, width))
        drops = torch.linspace(0, sizes.drop_path, sizes.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(sizes, drop) for drop in drops)
        self.norm = nn.LayerNorm(width, eps=sizes.norm_eps)
        between = sizes.decoder_width
        self.decoder_embed = nn.Linear(width * len(sizes.taps), patch * patch * between)
        self.decoder_pred = nn.Sequential(
            nn.Conv2d(between, between, 3, padding=1),
            ChannelNorm(between, eps=DECODER_EPS),
            nn.GELU(),
            nn.Conv2d(between, 3, 1),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start values as the release has them."""
        for name, parameter in self.named_parameters():
            if "_token" in name:
                nn.init.normal_(parameter, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    # -- canvases as they are: training, tuning, parity

    def forward(self, photos: Tensor, targets: Tensor, masked: Tensor, kinds: Tensor) -> Tensor:
        """Paints canvases that know nothing of each other, whole.

        Args:
            photos: Normalised [N, 3, 2S, S].
            targets: Likewise.
            masked: Bool [N, 2h, w], patches of targets that are not seen.
            kinds: int64 [N]: 0 semantic, 1 instance, other numbers neither.

        Returns:
            Normalised [N, 3, 2S, S].
        """
        rows = masked.shape[1] // 2
        photo, target = (self.patches(each) for each in (photos, targets))
        target = torch.where(masked[..., None], self.mask_token.to(target), target)
        streams = []
        for tokens, is_target in ((target, True), (photo, False)):
            halves = Halves(tokens[:, None, :rows], tokens[:, None, rows:])
            streams.append(self.before_merge(self.placed(halves, is_target, kinds)))
        taps = self.after_merge(self.merged(*streams))
        return self.decode(torch.cat([half.squeeze(1) for half in taps], dim=1))

    # -- queries under examples

    def patches(self, pictures: Tensor) -> Tensor:
        """Embedded patches [..., H / P, W / P, C] of normalised pictures [..., 3, H, W]."""
        found = self.patch_embed["proj"](pictures.flatten(0, -4)).permute(0, 2, 3, 1)
        return found.unflatten(0, pictures.shape[:-3])

    def target_stream(self, targets: Tensor, kind: int, num_lower: int = 1) -> Halves:
        """The target stream up to the merge, with G = 1; it knows nothing of the query's photo.

        Args:
            targets: Of examples, normalised [n, 3, S, S].
            kind: Of the example set, see `forward`.
            num_lower: m.
        """
        upper = self.patches(targets)[None]
        lower = self.mask_token.expand(1, num_lower, *upper.shape[2:4], -1)
        return self.before_merge(self.placed(Halves(upper, lower), True, kind))

    def photo_stream(self, examples: Tensor, queries: Tensor, kind: int) -> Halves:
        """The photo stream up to the merge.

        Args:
            examples: Embedded patches [n, h, w, C].
            queries: Likewise [G, m, h, w, C].
            kind: See `forward`.
        """
        upper = examples.expand(len(queries), -1, -1, -1, -1)
        return self.before_merge(self.placed(Halves(upper, queries), False, kind))

    def placed(self, halves: Halves, is_target: bool, kinds: Tensor | int) -> Halves:
        """With segment, position and type tokens, as block 0 takes them."""
        height, width = halves.upper.shape[2:4]
        segment = self.segment_token_y if is_target else self.segment_token_x
        more = segment + self._positions((2 * height, width)) + self._kinds(kinds)
        more = more.unsqueeze(1)  # [G or 1, 1, 2h, w, C]
        return Halves(halves.upper + more[:, :, :height], halves.lower + more[:, :, height:])

    def before_merge(self, tokens: Halves, mean_from: int = 0) -> Halves:
        """One stream through the blocks up to the merging one.

        Args:
            tokens: Of `placed`.
            mean_from: Block from which on lower halves take the mean over the examples.
        """
        for number, block in enumerate(self.blocks[: self.sizes.merge_block + 1]):
            tokens = block(tokens, number >= mean_from)
        return tokens

    @staticmethod
    def merged(target: Halves, photo: Halves) -> Halves:
        """The mean of the streams."""
        return Halves(*((one + other) * 0.5 for one, other in zip(photo, target)))

    def after_merge(self, tokens: Halves, mean_from: int = 0, upper_rows: int = 0) -> Halves:
        """Normalised tokens behind the tapped blocks, side by side: [G, n or m, rows, w, T C].

        Args:
            tokens: Of `merged`.
            mean_from: See `before_merge`.
            upper_rows: Only so many rows of upper halves, the last ones; 0: all.
        """
        first, last = self.sizes.merge_block + 1, self.sizes.taps[-1]
        found: list[Halves] = []
        for number in range(first, last + 1):
            rows = upper_rows if number == last else 0
            tokens = self.blocks[number](tokens, number >= mean_from, rows)
            if number in self.sizes.taps:
                upper = tokens.upper[:, :, -upper_rows:] if upper_rows else tokens.upper
                found.append(Halves(self.norm(upper), self.norm(tokens.lower)))
        return Halves(*(torch.cat(each, dim=-1) for each in zip(*found)))

    def decode(self, taps: Tensor, edge: Tensor | None = None) -> Tensor:
        """Pixels, normalised [N, 3, rows P, w P], of taps.

        Args:
            taps: [N, rows, w, T C].
            edge: [N, w, T C] of the token row above, whose last pixels the first ones here see.
        """
        pixels = self._unfolded(self.decoder_embed(taps), self.sizes.patch)
        if edge is None:
            found: Tensor = self.decoder_pred(pixels)
            return found
        size = self.sizes.patch * self.sizes.decoder_width  # of one pixel row of a patch
        layer = self.decoder_embed
        row = F.linear(edge, layer.weight[-size:], layer.bias[-size:])
        above = self._unfolded(row[:, None], 1)
        parts: Any = self.decoder_pred
        convolution = parts[0]
        padded = F.pad(torch.cat([above, pixels], dim=2), (1, 1, 0, 1))
        found = F.conv2d(padded, convolution.weight, convolution.bias)
        for part in parts[1:]:
            found = part(found)
        return found

    def _unfolded(self, embedded: Tensor, height: int) -> Tensor:
        """[N, r, w, height P D] to pixels [N, D, r height, w P]."""
        count, rows, columns = embedded.shape[:3]
        pixels = embedded.view(count, rows, columns, height, self.sizes.patch, -1)
        return pixels.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Absolute positions [1, 2h, w, C]; one square table is stretched over both halves."""
        side = self.sizes.pretrain_grid
        table = self.pos_embed[:, 1:].mT.unflatten(2, (side, side))
        if grid != (side, side):
            table = F.interpolate(table, grid, mode="bicubic", align_corners=False)
        return table.permute(0, 2, 3, 1)

    def _kinds(self, kinds: Tensor | int) -> Tensor:
        """Type tokens [G or 1, 1, 1, C]."""
        if not self.sizes.has_kinds:
            return self.segment_token_x.new_zeros(1, 1, 1, 1)
        if isinstance(kinds, int):
            kinds = torch.tensor([kinds], device=self.segment_token_x.device)
        places = kinds[:, None, None, None]
        return (places == 0) * self.type_token_cls + (places == 1) * self.type_token_ins


def mean_edge(taps: Halves) -> Tensor:
    """The token row above the query, [G, w, T C]: the mean over examples, whatever their order."""
    return taps.upper[:, :, -1].mean(1)
