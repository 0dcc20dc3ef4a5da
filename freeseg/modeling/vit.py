"""Plain vision transformers of timm: built by name, tapped after any block, for images of any size.

Shapes: B images, H W image size, h w grid of patches, N = h * w of them, P tokens before them
(class token, registers), C width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import Tensor, nn
from torch.nn import functional as F

# brings a table of positions [1, C, h', w'] to a grid (h, w)
Resize = Callable[[Tensor, tuple[int, int]], Tensor]
# what timm's ViTs have behind their blocks
BEHIND = ("norm", "fc_norm", "head", "head_dist", "pre_logits", "attn_pool")
DINO_OFFSET = 0.1  # of `bicubic_positions`, in DINO's and DINOv2's releases
SAM_NORM_EPS = 1e-6  # timm's own models of SAM have 1e-5


class Tap(NamedTuple):
    """Tokens after a block, without the last norm."""

    tokens: Tensor  # [B, N, C], of patches
    prefix: Tensor  # [B, P, C], before them


def create_vit(name: str, pretrained: bool = False, **sizes: Any) -> Any:
    """A ViT of timm without a head, for images of any size.

    Args:
        name: A name of ``timm.list_models()``.
        pretrained: Whether timm loads its published weights (needs the network once).
        **sizes: What timm's ViTs take: embed_dim, depth, num_heads, patch_size, img_size.

    Raises:
        ValueError: On an unknown model, or one that is no ViT.
    """
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:8])
        raise ValueError(f"timm has no model named {name!r}; close ones: {close or 'none'}")
    try:
        model = timm.create_model(
            name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **sizes
        )
    except TypeError as error:
        raise ValueError(f"{name} is no ViT that takes images of any size: {error}") from error
    if not hasattr(model, "blocks") or not hasattr(model, "forward_intermediates"):
        raise ValueError(f"{name} is no ViT: it has no blocks to tap")
    return model


def cut_behind(vit: Any, last: int) -> Any:
    """Takes off what stands behind a block: its parameters would never have a gradient.

    Args:
        vit: Of `create_vit`; changed in place.
        last: Number of the block, from 0.
    """
    for name in BEHIND:
        if isinstance(getattr(vit, name, None), nn.Module):
            setattr(vit, name, nn.Identity())
    vit.blocks = vit.blocks[: last + 1]
    return vit


def tapped_tokens(
    vit: Any, images: Tensor, taps: Sequence[int], resize: Resize | None = None
) -> list[Tap]:
    """Tokens after blocks of a ViT.

    Args:
        vit: Of `create_vit`.
        images: Normalised [B, 3, H, W]; H and W are multiples of the patch size.
        taps: Numbers of blocks from 0, in order.
        resize: How positions come to another grid than their own; None is timm's way (bicubic,
            antialiased), the only one for ViTs that do not add positions to patches (EVA).

    Raises:
        ValueError: `resize` is given for such a ViT.
    """
    if resize is None:
        found = vit.forward_intermediates(
            images,
            indices=list(taps),
            return_prefix_tokens=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return [Tap(*one) if isinstance(one, tuple) else Tap(one, one[:, :0]) for one in found]
    if not adds_positions(vit):
        raise ValueError(f"positions of a {type(vit).__name__} can be resized in timm's way only")
    height, width = vit.patch_embed.patch_size
    grid = images.shape[-2] // height, images.shape[-1] // width
    tokens = vit.norm_pre(add_positions(vit, vit.patch_embed(images), grid, resize))
    states = []
    for number, block in enumerate(vit.blocks):
        tokens = block(tokens)  # [B, P + N, C]
        if number in taps:
            first = vit.num_prefix_tokens
            states.append(Tap(tokens[:, first:], tokens[:, :first]))
    return states


def adds_positions(vit: Any) -> bool:
    """Whether a ViT adds a table of positions to its patches, as plain ones do."""
    return isinstance(vit, VisionTransformer)


def add_positions(vit: Any, patches: Tensor, grid: tuple[int, int], resize: Resize) -> Tensor:
    """Tokens [B, P + N, C] of patches [B, h, w, C]: first those of the ViT, positions added."""
    tokens = patches.flatten(1, 2)  # [B, N, C]
    first = [each.expand(len(tokens), -1, -1) for each in _first_tokens(vit)]
    if vit.pos_embed is None:
        return torch.cat([*first, tokens], dim=1)
    num_first = 0 if vit.no_embed_class else vit.num_prefix_tokens
    old = vit.patch_embed.grid_size
    table = vit.pos_embed[:, num_first:].mT.unflatten(2, old)  # [1, C, h', w']
    if tuple(old) != grid:
        table = resize(table, grid)
    positions = table.flatten(2).mT.to(tokens)  # [1, N, C]
    if vit.no_embed_class:
        return torch.cat([*first, tokens + positions], dim=1)
    positions = torch.cat([vit.pos_embed[:, :num_first].to(tokens), positions], dim=1)
    return torch.cat([*first, tokens], dim=1) + positions


def bilinear_positions(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Positions [1, C, h, w] of a table [1, C, h', w'], as DPT's release resizes them."""
    return F.interpolate(table, grid, mode="bilinear", align_corners=False)


def bicubic_positions(table: Tensor, grid: tuple[int, int], offset: float = 0.0) -> Tensor:
    """Positions [1, C, h, w] of a table [1, C, h', w'], in float32 and without antialiasing.

    Parity: DINO and DINOv2 resize by the factor (h + 0.1) / h', which moves the places at which
    the table is read; `DINO_OFFSET` does so, 0 is Hugging Face's way.

    Raises:
        ValueError: When the offset is so large that another grid comes out.
    """
    if not offset:
        found = F.interpolate(table.float(), grid, mode="bicubic", align_corners=False)
        return found.to(table)
    factors = [(new + offset) / old for new, old in zip(grid, table.shape[-2:])]
    found = F.interpolate(table.float(), scale_factor=factors, mode="bicubic", align_corners=False)
    if tuple(found.shape[-2:]) != tuple(grid):
        raise ValueError(f"an offset of {offset} makes {tuple(found.shape[-2:])} of {tuple(grid)}")
    return found.to(table)


def _first_tokens(vit: Any) -> list[Tensor]:
    tokens = (getattr(vit, name, None) for name in ("cls_token", "dist_token", "reg_token"))
    return [token for token in tokens if token is not None]


@dataclass(frozen=True)
class WindowedSizes:
    """Sizes of a ViT that attends in windows, but for some blocks that attend everywhere.

    Attributes:
        width: C.
        depth: Number of blocks.
        global_blocks: Numbers, from 0, of the blocks without windows.
        window: Side of a window in patches.
        out_channels: Of the map that comes out.
    """

    width: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    window: int = 14
    patch_size: int = 16
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    out_channels: int = 256


SAM_SIZES: Mapping[str, WindowedSizes] = {  # by the names of SAM's release
    "vit_b": WindowedSizes(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": WindowedSizes(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": WindowedSizes(1280, 32, 16, (7, 15, 23, 31)),
}


class WindowedViT(VisionTransformerSAM):
    """SAM's image encoder (Kirillov et al., arXiv 2304.02643): windows, relative positions, a neck.

    timm's network with the release's LayerNorm epsilon and names of weights. Windows at the right
    and lower edge are filled up with zeros that are attended to, as in the release.

    The release reads 1024 x 1024 pixels only. For other images than it was built for, positions
    added to patches are resized as timm does (bicubic, antialiased), relative ones as the release
    has it (linear).
    """

    def __init__(self, sizes: WindowedSizes, image_size: int = 1024) -> None:
        """Builds an untrained encoder.

        Args:
            sizes: One of `SAM_SIZES`, or any other.
            image_size: Side in pixels of the images that the tables of positions are for.

        Raises:
            ValueError: When the side is no multiple of the patch size.
        """
        _require_whole_patches((image_size, image_size), sizes.patch_size)
        super().__init__(
            img_size=image_size,
            patch_size=sizes.patch_size,
            num_classes=0,
            embed_dim=sizes.width,
            depth=sizes.depth,
            num_heads=sizes.num_heads,
            mlp_ratio=sizes.mlp_ratio,
            qkv_bias=sizes.qkv_bias,
            norm_layer=partial(nn.LayerNorm, eps=SAM_NORM_EPS),
            mlp_layer=_FeedForward,
            use_rel_pos=True,
            window_size=sizes.window,
            global_attn_indexes=sizes.global_blocks,
            neck_chans=sizes.out_channels,
        )
        self.sizes = sizes

    def forward(self, images: Tensor) -> Tensor:
        """A map [B, out_channels, h, w] of normalised images [B, 3, H, W].

        Raises:
            ValueError: When H or W is no multiple of the patch size.
        """
        _require_whole_patches(images.shape[-2:], self.sizes.patch_size)
        features: Tensor = self.forward_features(images)
        return features


def sam_image_encoder(name: str, image_size: int = 1024) -> WindowedViT:
    """The untrained image encoder of a published SAM.

    Args:
        name: Of `SAM_SIZES`.
        image_size: See `WindowedViT`; the published weights are for 1024.

    Raises:
        ValueError: On an unknown name.
    """
    if name not in SAM_SIZES:
        raise ValueError(f"wanted one of SAM's encoders {', '.join(SAM_SIZES)}, got {name!r}")
    return WindowedViT(SAM_SIZES[name], image_size)


class _FeedForward(nn.Module):
    """Two linear layers under SAM's names, built as timm builds its own."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        act_layer: Callable[[], nn.Module],
        drop: float,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.lin1 = nn.Linear(in_features, hidden_features, device=device, dtype=dtype)
        self.act = act_layer()
        self.lin2 = nn.Linear(hidden_features, in_features, device=device, dtype=dtype)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.lin2(self.act(self.lin1(x))))


def _require_whole_patches(size: Sequence[int], patch_size: int) -> None:
    if any(side % patch_size or side < 1 for side in size):
        raise ValueError(f"wanted sides that are multiples of {patch_size}, got {tuple(size)}")
