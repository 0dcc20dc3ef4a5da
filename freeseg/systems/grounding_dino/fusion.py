"""Image and text read each other (GLIP's two-way fusion, arXiv 2112.03857; Grounding DINO's layer).

An image has thousands of tokens and a caption a few. So nothing of an image is projected: a pixel's
query times a word's key is the pixel times the key's projection back, and the mean of values is the
value of a mean. This is the same sum in another order.

Shapes: B images, S image tokens, T text tokens, C channels, A channels inside, M heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from freeseg.systems.grounding_dino.initial import fill

GAMMA = 1e-4  # of what is read, in the beginning


class TwoWayAttention(nn.Module):
    """One table of scores between image and text, read in both directions.

    Args:
        channels: C.
        inner_channels: A.
        num_heads: M.
    """

    def __init__(self, *, channels: int, inner_channels: int, num_heads: int) -> None:
        super().__init__()
        if inner_channels % num_heads:
            raise ValueError(f"{inner_channels} channels are no multiple of {num_heads} heads")
        self.num_heads = num_heads
        self.v_proj = nn.Linear(channels, inner_channels)
        self.l_proj = nn.Linear(channels, inner_channels)
        self.values_v_proj = nn.Linear(channels, inner_channels)
        self.values_l_proj = nn.Linear(channels, inner_channels)
        self.out_v_proj = nn.Linear(inner_channels, channels)
        self.out_l_proj = nn.Linear(inner_channels, channels)
        fill(self.v_proj, self.l_proj, self.values_v_proj, self.values_l_proj)
        fill(self.out_v_proj, self.out_l_proj)

    def forward(
        self, image: Tensor, text: Tensor, padding: Tensor | None, is_token: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the image reads of the text [B, S, C], and the text of the image [B, T, C].

        Args:
            image: [B, S, C].
            text: [B, T, C].
            padding: Bool [B, S], True where there is no image; None: nowhere.
            is_token: Bool [B, T], False on padding.
        """
        scores = self._scores(image, text)  # [B, M, T, S]
        of_text = scores.masked_fill(~is_token[:, None, :, None], -torch.inf).softmax(2)
        values = _by_heads(self.values_l_proj(text), self.num_heads)  # [B, M, T, A/M]
        outward = self.out_v_proj.weight.mT.unflatten(0, (self.num_heads, -1))  # [M, A/M, C]
        told = (values @ outward).flatten(1, 2)  # [B, M * T, C]
        image_reads = of_text.flatten(1, 2).mT @ told + self.out_v_proj.bias
        if padding is not None:
            scores = scores.masked_fill(padding[:, None, None], -torch.inf)
        means = scores.softmax(3).flatten(1, 2) @ image  # [B, M * T, C]
        means = means.unflatten(1, (self.num_heads, -1))
        inward = self.values_v_proj.weight.unflatten(0, (self.num_heads, -1)).mT  # [M, C, A/M]
        read = (means @ inward).transpose(1, 2).flatten(2) + self.values_v_proj.bias
        return image_reads, self.out_l_proj(read)

    def _scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Scaled products [B, M, T, S]."""
        keys = _by_heads(self.l_proj(text), self.num_heads)  # [B, M, T, A/M]
        keys = keys * keys.shape[-1] ** -0.5
        back = keys @ self.v_proj.weight.unflatten(0, (self.num_heads, -1))  # [B, M, T, C]
        offset = keys @ self.v_proj.bias.unflatten(0, (self.num_heads, -1))[..., None]
        scores = back.flatten(1, 2) @ image.mT  # [B, M * T, S]
        return scores.unflatten(1, back.shape[1:3]) + offset


class FusionLayer(nn.Module):
    """Normed image and text, and what they read of each other.

    Parity: it is the normed features that go on, not those that came in.

    Args:
        channels: C.
        inner_channels: A.
        num_heads: M.
        drop_path: Probability, in training, that an image reads nothing.
    """

    def __init__(
        self, *, channels: int, inner_channels: int, num_heads: int, drop_path: float
    ) -> None:
        super().__init__()
        self.layer_norm_v = nn.LayerNorm(channels)
        self.layer_norm_l = nn.LayerNorm(channels)
        self.attn = TwoWayAttention(
            channels=channels, inner_channels=inner_channels, num_heads=num_heads
        )
        self.gamma_v = nn.Parameter(torch.full((channels,), GAMMA))
        self.gamma_l = nn.Parameter(torch.full((channels,), GAMMA))
        self.drop_path = drop_path

    def forward(
        self, image: Tensor, text: Tensor, padding: Tensor | None, is_token: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Image [B, S, C] and text [B, T, C] after it; see `TwoWayAttention`."""
        image, text = self.layer_norm_v(image), self.layer_norm_l(text)
        image_reads, text_reads = self.attn(image, text, padding, is_token)
        return (
            image + self._dropped(self.gamma_v * image_reads),
            text + self._dropped(self.gamma_l * text_reads),
        )

    def _dropped(self, read: Tensor) -> Tensor:
        """Zeros in some rows of [B, ...] in training, the others larger by as much."""
        if not (self.training and self.drop_path):
            return read
        kept = read.new_ones(len(read), *[1] * (read.dim() - 1))
        return read * F.dropout(kept, self.drop_path)


def _by_heads(projected: Tensor, num_heads: int) -> Tensor:
    """[B, M, T, A/M] of [B, T, A]."""
    return projected.unflatten(2, (num_heads, -1)).transpose(1, 2)
