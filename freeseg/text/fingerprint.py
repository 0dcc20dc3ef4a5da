"""Names a module's weights by a hash, so that what was computed with them can be found again."""

from __future__ import annotations

import hashlib
import weakref

import torch
from torch import nn

DIGEST_BYTES = 16

# What a module's tensors were when it was last hashed, and the hash.
_State = tuple[tuple[str, int, int], ...]
_known: weakref.WeakKeyDictionary[nn.Module, tuple[_State, str]] = weakref.WeakKeyDictionary()


def fingerprint(module: nn.Module) -> str:
    """Hash of the names, types and values of a module's weights, the same in every process.

    It is computed again only after a tensor was written to or replaced, which costs a look at
    version counters rather than at values.
    """
    state = _state(module)
    known = _known.get(module)
    if known is None or known[0] != state:
        known = (state, _digest(module))
        _known[module] = known
    return known[1]


def _state(module: nn.Module) -> _State:
    return tuple(
        (name, tensor.data_ptr(), tensor._version)
        for name, tensor in module.state_dict(keep_vars=True).items()
    )


def _digest(module: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous()
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
