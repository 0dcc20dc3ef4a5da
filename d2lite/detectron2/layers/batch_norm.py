"""Normalisation layers beside those of torch.nn, and their names in configs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from fvcore.nn.distributed import differentiable_all_reduce
from torch import Tensor, nn
from torch.nn import functional as F

from detectron2.layers.wrappers import BatchNorm2d
from detectron2.utils import comm

_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def _channelwise(vector):
    return vector.reshape(1, -1, 1, 1)


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and affine weights never change (all are buffers).

    It starts as the identity. Weights of Caffe2 hold only `weight` and `bias`, with the statistics
    folded in, which the initial mean 0 and variance 1 - eps leave as they are.
    """

    _version = 3  # 2: the running statistics are stored; 3: num_batches_tracked may be

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.num_features, self.eps = num_features, eps
        for name in _STATISTICS:
            is_one = name in ("weight", "running_var")
            self.register_buffer(name, (torch.ones if is_one else torch.zeros)(num_features))
        self.running_var -= eps
        self.register_buffer("num_batches_tracked", None)

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        # F.batch_norm would keep what it needs for gradients of the affine weights
        scale = (self.running_var + self.eps).rsqrt() * self.weight
        shift = self.bias - self.running_mean * scale
        return x * scale.reshape(1, -1, 1, 1).to(x.dtype) + shift.reshape(1, -1, 1, 1).to(x.dtype)

    def _load_from_state_dict(
        self, state_dict: dict, prefix: str, local_metadata: dict, *args: Any
    ) -> None:
        version = local_metadata.get("version")
        if version is None or version < 2:
            state_dict.setdefault(prefix + "running_mean", torch.zeros_like(self.running_mean))
            state_dict.setdefault(prefix + "running_var", torch.ones_like(self.running_var))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def __repr__(self) -> str:
        return f"FrozenBatchNorm2d(num_features={self.num_features}, eps={self.eps})"

    @classmethod
    def convert_frozen_batchnorm(cls, module: nn.Module) -> nn.Module:
        """Replace each BatchNorm2d, SyncBatchNorm inside (or `module` itself) by a frozen one."""

        def freeze(batch_norm: nn.Module) -> FrozenBatchNorm2d:
            return _copy_statistics(batch_norm, cls(batch_norm.num_features))

        return _replace_modules(module, (nn.BatchNorm2d, nn.SyncBatchNorm), freeze)

    @classmethod
    def convert_frozenbatchnorm2d_to_batchnorm2d(cls, module: nn.Module) -> nn.Module:
        """Replace every frozen batch norm inside (or `module` itself) by a BatchNorm2d."""

        def thaw(frozen: nn.Module) -> nn.BatchNorm2d:
            return _copy_statistics(frozen, nn.BatchNorm2d(frozen.num_features, frozen.eps))

        return _replace_modules(module, (FrozenBatchNorm2d,), thaw)


def _copy_statistics(source: nn.Module, target: nn.Module) -> Any:
    for name in _STATISTICS:
        values = getattr(source, name)
        if values is not None:  # None: a batch norm without affine weights
            getattr(target, name).data = values.detach().clone()
    target.eps = source.eps
    target.num_batches_tracked = source.num_batches_tracked
    return target


def _replace_modules(
    module: nn.Module, kinds: tuple[type, ...], replace: Callable[[nn.Module], nn.Module]
) -> nn.Module:
    if isinstance(module, kinds):
        return replace(module)
    for name, child in module.named_children():
        replacement = _replace_modules(child, kinds, replace)
        if replacement is not child:
            module.add_module(name, replacement)
    return module


class NaiveSyncBatchNorm(BatchNorm2d):
    """Batch norm over all processes, by averaging their moments.

    stats_mode "" weighs every process the same and refuses an empty batch; "N" weighs by batch size
    and allows one. Exact if all inputs have the same height and width (and batch size, for "").
    """

    def __init__(self, *args: Any, stats_mode: str = "", **kwargs: Any):
        super().__init__(*args, **kwargs)
        assert stats_mode in ["", "N"], stats_mode
        self._stats_mode = stats_mode

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or comm.get_world_size() == 1:
            return super().forward(input)
        # half precision is too coarse to add up over processes
        x = input.float() if input.dtype == torch.float16 else input
        mean, mean_of_squares, momentum = self._global_moments(x)
        variance = mean_of_squares - mean.square()
        with torch.no_grad():
            self.running_mean += momentum * (mean - self.running_mean)
            self.running_var += momentum * (variance - self.running_var)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        normalized = x * _channelwise(scale) + _channelwise(self.bias - scale * mean)
        return normalized.to(input.dtype)

    def _global_moments(self, x: Tensor) -> tuple[Tensor, Tensor, Any]:
        """Return the mean and the mean square per channel over processes, and the momentum."""
        batch_size, num_channels = x.shape[:2]
        if self._stats_mode == "":
            assert batch_size > 0, 'SyncBatchNorm(stats_mode="") does not support zero batch size.'
            moments = torch.cat([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])
            moments = differentiable_all_reduce(moments) / dist.get_world_size()
            return (*moments.split(num_channels), self.momentum)
        # sums over the batch of spatial means; an empty batch adds 0 and keeps its gradient path
        sums = torch.cat([x.mean(dim=(2, 3)).sum(0), x.square().mean(dim=(2, 3)).sum(0)])
        packed = torch.cat([sums, sums.new_tensor([float(batch_size)])])
        packed = differentiable_all_reduce(packed)
        total = packed[-1].detach()
        mean, mean_of_squares = (packed[:-1] / total.clamp(min=1)).split(num_channels)
        return mean, mean_of_squares, self.momentum * total.clamp(max=1)  # all empty: no update


class CycleBatchNormList(nn.ModuleList):
    """One batch norm per input domain, taken in turns, with shared affine weights.

    The caller must call it a multiple of `length` times, always in the same order of domains.
    """

    def __init__(self, length: int, bn_class: Callable[..., nn.Module] = nn.BatchNorm2d, **kwargs):
        self._affine = kwargs.pop("affine", True)
        super().__init__(bn_class(affine=False, **kwargs) for _ in range(length))
        if self._affine:
            num_channels = self[0].num_features
            self.weight = nn.Parameter(torch.ones(num_channels))
            self.bias = nn.Parameter(torch.zeros(num_channels))
        self._pos = 0

    def forward(self, x: Tensor) -> Tensor:
        turn, self._pos = self._pos, (self._pos + 1) % len(self)
        normalized = self[turn](x)
        if not self._affine:
            return normalized
        return normalized * _channelwise(self.weight) + _channelwise(self.bias)

    def extra_repr(self) -> str:
        return f"affine={self._affine}"


class LayerNorm(nn.Module):
    """Layer norm over the channels of each position of an [N, C, H, W] tensor."""

    def __init__(self, normalized_shape: int, eps: float = 1e-6):
        super().__init__()
        self.normalized_shape = (normalized_shape,)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(normalized_shape))
        self.bias = nn.Parameter(torch.zeros(normalized_shape))

    def forward(self, x: Tensor) -> Tensor:
        centered = x - x.mean(dim=1, keepdim=True)
        variance = centered.square().mean(dim=1, keepdim=True)
        normalized = centered / torch.sqrt(variance + self.eps)
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BN": BatchNorm2d,
    "SyncBN": nn.SyncBatchNorm,
    "FrozenBN": FrozenBatchNorm2d,
    "GN": lambda channels: nn.GroupNorm(32, channels),
    "nnSyncBN": nn.SyncBatchNorm,
    "naiveSyncBN": NaiveSyncBatchNorm,
    "naiveSyncBN_N": lambda channels: NaiveSyncBatchNorm(channels, stats_mode="N"),
    "LN": LayerNorm,
}


def get_norm(norm: str | Callable[[int], nn.Module] | None, out_channels: int) -> nn.Module | None:
    """Make the norm with this config name (or from this callable); None for None and ""."""
    if norm is None or norm == "":
        return None
    make = _NORMS[norm] if isinstance(norm, str) else norm
    return make(out_channels)
