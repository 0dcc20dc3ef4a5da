"""Swin Transformer (Liu et al., 2021) with the parameter names of the published checkpoints.

Shapes: B images, H W feature size, C channels, N tokens of a window, W' windows, h heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn.modules.utils import _pair

from .backbone import Backbone

__all__ = ["SwinTransformer"]

_MASKED = -100.0  # added to the attention logits of pixels that are not neighbours


class Mlp(nn.Module):
    """Two linear layers with an activation between."""

    def __init__(self, in_features, hidden_features, act_layer=nn.GELU, drop=0.0):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = act_layer()
        self.fc2 = nn.Linear(hidden_features, in_features)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        x = self.drop(self.act(self.fc1(x)))
        return self.drop(self.fc2(x))


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, with a learned bias per relative position."""

    def __init__(
        self,
        dim,
        window_size,
        num_heads,
        qkv_bias=True,
        qk_scale=None,
        attn_drop=0.0,
        proj_drop=0.0,
    ):
        """``window_size`` is (height, width); ``qk_scale`` replaces ``head_dim ** -0.5``."""
        super().__init__()
        self.dim = dim
        self.window_size = window_size
        self.num_heads = num_heads
        self.scale = qk_scale or (dim // num_heads) ** -0.5
        height, width = window_size
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * height - 1) * (2 * width - 1), num_heads)
        )
        self.register_buffer("relative_position_index", _relative_positions(height, width))
        self.qkv = nn.Linear(dim, dim * 3, bias=qkv_bias)
        self.attn_drop = nn.Dropout(attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x, mask=None):
        """Attend inside windows.

        Args:
            x: [B*W', N, C], the windows of an image next to each other.
            mask: [W', N, N], added to the attention logits.
        """
        batch, tokens, channels = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, channels // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B*W', h, N, C/h]
        logits = (query * self.scale) @ key.transpose(-2, -1) + self._bias(tokens)
        if mask is not None:
            by_image = logits.view(-1, mask.shape[0], self.num_heads, tokens, tokens)
            logits = (by_image + mask[None, :, None]).view(batch, self.num_heads, tokens, tokens)
        weights = self.attn_drop(self.softmax(logits))
        x = (weights @ value).transpose(1, 2).reshape(batch, tokens, channels)
        return self.proj_drop(self.proj(x))

    def _bias(self, tokens):
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        return bias.view(tokens, tokens, -1).permute(2, 0, 1).unsqueeze(0)  # [1, h, N, N]


class SwinTransformerBlock(nn.Module):
    """Window attention and an MLP, both residual; with ``shift_size`` the windows are shifted."""

    def __init__(
        self,
        dim,
        num_heads,
        window_size=7,
        shift_size=0,
        mlp_ratio=4.0,
        qkv_bias=True,
        qk_scale=None,
        drop=0.0,
        attn_drop=0.0,
        drop_path=0.0,
        act_layer=nn.GELU,
        norm_layer=nn.LayerNorm,
    ):
        """See :class:`SwinTransformer` for the arguments."""
        super().__init__()
        assert 0 <= shift_size < window_size, f"shift {shift_size} not in [0, {window_size})"
        self.window_size, self.shift_size = window_size, shift_size
        self.norm1 = norm_layer(dim)
        self.attn = WindowAttention(
            dim, (window_size, window_size), num_heads, qkv_bias, qk_scale, attn_drop, drop
        )
        self.drop_path = _DropPath(drop_path) if drop_path > 0.0 else nn.Identity()
        self.norm2 = norm_layer(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act_layer=act_layer, drop=drop)

    def forward(self, x, attn_mask):
        """Refine features [B, H, W, C]; ``attn_mask`` [W', N, N] is used by shifted blocks."""
        x = x + self.drop_path(self._attend(self.norm1(x), attn_mask))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def _attend(self, x, attn_mask):
        size, shift = self.window_size, self.shift_size
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
        padded = x.shape[1:3]
        if shift > 0:
            x = torch.roll(x, shifts=(-shift, -shift), dims=(1, 2))
        windows = self.attn(_to_windows(x, size), mask=attn_mask if shift > 0 else None)
        x = _from_windows(windows, size, *padded)
        if shift > 0:
            x = torch.roll(x, shifts=(shift, shift), dims=(1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Halves the resolution and doubles the channels of [B, H, W, C]; odd sizes are padded."""

    def __init__(self, dim, norm_layer=nn.LayerNorm):
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(4 * dim)

    def forward(self, x):
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))  # [B, H/2, W/2, 2C]


class BasicLayer(nn.Module):
    """One stage: blocks with plain and shifted windows in turn, then an optional downsampling."""

    def __init__(
        self,
        dim,
        depth,
        num_heads,
        window_size=7,
        drop_path=0.0,
        norm_layer=nn.LayerNorm,
        downsample=None,
        use_checkpoint=False,
        **block_options,
    ):
        """``drop_path`` is a rate or one per block; ``block_options`` go to every block."""
        super().__init__()
        self.window_size = window_size
        self.shift_size = window_size // 2
        self.depth = depth
        self.use_checkpoint = use_checkpoint
        rates = drop_path if isinstance(drop_path, (list, tuple)) else [drop_path] * depth
        self.blocks = nn.ModuleList(
            SwinTransformerBlock(
                dim,
                num_heads,
                window_size,
                shift_size=self.shift_size if i % 2 else 0,
                drop_path=rate,
                norm_layer=norm_layer,
                **block_options,
            )
            for i, rate in enumerate(rates)
        )
        self.downsample = None if downsample is None else downsample(dim, norm_layer=norm_layer)

    def forward(self, x):
        """Return the refined features [B, H, W, C] and what the next stage reads."""
        mask = _shift_mask(*x.shape[1:3], self.window_size, self.shift_size, x.device)
        for block in self.blocks:
            if self.use_checkpoint:
                x = torch.utils.checkpoint.checkpoint(block, x, mask, use_reentrant=False)
            else:
                x = block(x, mask)
        return x, x if self.downsample is None else self.downsample(x)


class PatchEmbed(nn.Module):
    """Turns each patch of an image [B, 3, H, W] into one vector, [B, C, H/size, W/size]."""

    def __init__(self, patch_size=4, in_chans=3, embed_dim=96, norm_layer=None):
        super().__init__()
        self.patch_size = _pair(patch_size)
        self.in_chans = in_chans
        self.embed_dim = embed_dim
        self.proj = nn.Conv2d(in_chans, embed_dim, self.patch_size, stride=self.patch_size)
        self.norm = None if norm_layer is None else norm_layer(embed_dim)

    def forward(self, x):
        height, width = self.patch_size
        x = self.proj(F.pad(x, (0, -x.shape[3] % width, 0, -x.shape[2] % height)))
        if self.norm is not None:
            x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x


class SwinTransformer(Backbone):
    """Swin backbone; features are named p0 .. p3, of strides 4 .. 32."""

    def __init__(
        self,
        pretrain_img_size=224,
        patch_size=4,
        in_chans=3,
        embed_dim=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        window_size=7,
        mlp_ratio=4.0,
        qkv_bias=True,
        qk_scale=None,
        drop_rate=0.0,
        attn_drop_rate=0.0,
        drop_path_rate=0.2,
        norm_layer=nn.LayerNorm,
        ape=False,
        patch_norm=True,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        use_checkpoint=False,
    ):
        """Build the backbone.

        Args:
            pretrain_img_size: image size that the absolute position embedding is made for.
            patch_size: side of a patch.
            in_chans: channels of the image.
            embed_dim: width of the first stage; each next one is twice as wide.
            depths: blocks per stage.
            num_heads: attention heads per stage.
            window_size: side of an attention window, in patches.
            mlp_ratio: hidden width of the MLPs relative to their input.
            qkv_bias: query, key and value have biases.
            qk_scale: replaces ``head_dim ** -0.5``.
            drop_rate: dropout of features.
            attn_drop_rate: dropout of attention weights.
            drop_path_rate: stochastic depth of the last block; earlier ones have less.
            norm_layer: constructor of the normalisation layers.
            ape: add an absolute position embedding.
            patch_norm: normalise after the patch embedding.
            out_indices: stages whose features are returned.
            frozen_stages: 0 freezes the patch embedding, 1 the position embedding too, ``n``
                the first ``n - 1`` stages too; -1 nothing.
            use_checkpoint: recompute activations in the backward pass to save memory.
        """
        super().__init__()
        self.embed_dim, self.num_layers = embed_dim, len(depths)
        self.num_features = [int(embed_dim * 2**i) for i in range(self.num_layers)]
        self.patch_norm, self.ape = patch_norm, ape
        self.pretrain_img_size = pretrain_img_size
        self.out_indices, self.frozen_stages = out_indices, frozen_stages
        self.patch_embed = PatchEmbed(
            patch_size, in_chans, embed_dim, norm_layer if patch_norm else None
        )
        if ape:
            grid = [i // p for i, p in zip(_pair(pretrain_img_size), _pair(patch_size))]
            self.absolute_pos_embed = nn.Parameter(torch.zeros(1, embed_dim, *grid))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)
        self.pos_drop = nn.Dropout(p=drop_rate)

        self.layers = _build_stages(
            self.num_features,
            depths,
            num_heads,
            drop_path_rate,
            window_size=window_size,
            norm_layer=norm_layer,
            use_checkpoint=use_checkpoint,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            qk_scale=qk_scale,
            drop=drop_rate,
            attn_drop=attn_drop_rate,
        )
        for i in out_indices:
            self.add_module(f"norm{i}", norm_layer(self.num_features[i]))
        self._freeze_stages()
        self._out_features = [f"p{i}" for i in out_indices]
        self._out_feature_channels = {f"p{i}": self.num_features[i] for i in out_indices}
        self._out_feature_strides = {f"p{i}": 2 ** (i + 2) for i in out_indices}
        self._size_divisibility = 32
        self.apply(_init_weights)

    @property
    def size_divisibility(self):
        return self._size_divisibility

    def forward(self, x):
        """Return ``{"p0": ..., "p3": ...}`` of images [B, 3, H, W] of any size."""
        x = self.patch_embed(x)
        if self.ape:
            x = x + F.interpolate(self.absolute_pos_embed, size=x.shape[2:], mode="bicubic")
        x = self.pos_drop(x.permute(0, 2, 3, 1))  # [B, H, W, C]
        outputs = {}
        for i, layer in enumerate(self.layers):
            features, x = layer(x)
            if i in self.out_indices:
                features = getattr(self, f"norm{i}")(features)
                outputs[f"p{i}"] = features.permute(0, 3, 1, 2).contiguous()  # [B, C, H, W]
        return outputs

    def _freeze_stages(self):
        frozen = [self.patch_embed] if self.frozen_stages >= 0 else []
        if self.frozen_stages >= 1 and self.ape:
            self.absolute_pos_embed.requires_grad = False
        if self.frozen_stages >= 2:
            frozen += [self.pos_drop, *self.layers[: self.frozen_stages - 1]]
        for module in frozen:
            module.eval().requires_grad_(False)


def _build_stages(widths, depths, num_heads, drop_path_rate, **options):
    rates = torch.linspace(0, drop_path_rate, sum(depths)).split(list(depths))
    downsample = [PatchMerging] * (len(depths) - 1) + [None]
    return nn.ModuleList(
        BasicLayer(*sizes, drop_path=rate.tolist(), downsample=down, **options)
        for *sizes, rate, down in zip(widths, depths, num_heads, rates, downsample)
    )


class _DropPath(nn.Module):
    """Drops the residual branch of whole samples while training (stochastic depth)."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0.0:
            return x
        keep = 1 - self.rate
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        if keep > 0.0:
            kept.div_(keep)
        return x * kept


def _to_windows(x, size):
    batch, height, width, channels = x.shape
    x = x.view(batch, height // size, size, width // size, size, channels)
    return x.transpose(2, 3).reshape(-1, size * size, channels)  # [B*W', N, C]


def _from_windows(windows, size, height, width):
    x = windows.view(-1, height // size, width // size, size, size, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])  # [B, H, W, C]


def _shift_mask(height, width, size, shift, device):
    """Mask that keeps pixels apart which only meet in a window because the map was rolled."""

    def bands(length):
        position = torch.arange(length + -length % size, device=device)
        start_of_last, start_of_rolled = len(position) - size, len(position) - shift
        return (position >= start_of_last).long() + (position >= start_of_rolled).long()

    regions = bands(height)[:, None] * 3 + bands(width)[None, :]
    regions = _to_windows(regions[None, :, :, None], size).squeeze(-1)  # [W', N]
    apart = regions[:, :, None] != regions[:, None, :]
    return torch.zeros(apart.shape, device=device).masked_fill_(apart, _MASKED)  # [W', N, N]


def _relative_positions(height, width):
    """Row of the bias table for every pair of tokens of a window, [N, N]."""
    y, x = torch.cartesian_prod(torch.arange(height), torch.arange(width)).unbind(1)
    dy = y[:, None] - y[None, :] + height - 1
    dx = x[:, None] - x[None, :] + width - 1
    return dy * (2 * width - 1) + dx


def _init_weights(module):
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
    if isinstance(module, (nn.Linear, nn.LayerNorm)) and module.bias is not None:
        nn.init.zeros_(module.bias)
