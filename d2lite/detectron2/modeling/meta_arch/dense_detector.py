"""A layout that dense detectors use; they themselves are in the real package."""

from __future__ import annotations


def permute_to_N_HWA_K(tensor, K):  # noqa: N802, N803
    """Return what A anchors predict per pixel, [N, A*K, H, W], as rows of K: [N, H*W*A, K]."""
    assert tensor.dim() == 4, f"predictions have four axes, not the shape {tuple(tensor.shape)}"
    return tensor.unflatten(1, (-1, K)).permute(0, 3, 4, 1, 2).flatten(1, 3)
