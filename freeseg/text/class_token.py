"""A ViT's class token that looks at a part of the picture.

Shapes: N images, P patches, H W image size.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def class_token_sees(masks: Tensor, patch_size: int) -> Tensor:
    """Bool [N, P+1, P+1], True where a token may look: the first one at patches of masks alone.

    It always sees itself; all other tokens see everything.

    Args:
        masks: Bool [N, H, W]; a patch with a pixel of a mask is its.
        patch_size: In pixels.
    """
    inside = F.max_pool2d(masks[:, None].float(), patch_size).flatten(1) > 0  # [N, P]
    num_tokens = inside.shape[1] + 1
    visible = inside.new_ones(len(masks), num_tokens, num_tokens)
    visible[:, 0, 1:] = inside
    return visible
