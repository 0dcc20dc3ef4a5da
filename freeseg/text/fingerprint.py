"""Names a module's weights by a hash, so that what was computed with them can be found again."""

from __future__ import annotations

import hashlib
import weakref

import torch
from torch import Tensor, nn

DIGEST_BYTES = 16

# what a module's tensors were when it was last hashed, and the hash; by prefix that was left out
_State = tuple[tuple[str, int, int], ...]
_Known = dict[str, tuple[_State, str]]
_known: weakref.WeakKeyDictionary[nn.Module, _Known] = weakref.WeakKeyDictionary()


def fingerprint(module: nn.Module, without: str = "-") -> str:
    """Hash of the names, types and values of a module's weights, the same in every process.

    Args:
        module: What is hashed.
        without: Weights whose names begin so are left out; no name begins with "-".
    """
    return _digest(_weights(module, without))


def frozen_fingerprint(module: nn.Module, without: str = "-") -> str:
    """`fingerprint`, computed again only after a tensor was written to or replaced.

    That costs a look at version counters rather than at values. They do not tell what is written
    through ``.data``. Tensors that were made in inference mode have none: every call hashes these.

    Args:
        module: What is hashed.
        without: As of `fingerprint`.
    """
    tensors = _weights(module, without)
    if any(tensor.is_inference() for tensor in tensors.values()):
        return _digest(tensors)
    state = tuple((name, each.data_ptr(), each._version) for name, each in tensors.items())
    memory = _known.setdefault(module, {})
    if without not in memory or memory[without][0] != state:
        memory[without] = (state, _digest(tensors))
    return memory[without][1]


def _weights(module: nn.Module, without: str) -> dict[str, Tensor]:
    state = module.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if not name.startswith(without)}


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous()
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
