"""Reading of pickled weights without running what a hostile file would like to run.

A pickle names functions to call. Here only those are known that build plain containers, numpy
arrays and torch tensors; any other name is an error before anything of it is imported.
"""

from __future__ import annotations

import builtins
import codecs
import collections
import io
import pickle

import numpy as np
import torch

_CONTAINERS = ("bytearray", "complex", "dict", "frozenset", "list", "set", "slice", "tuple")
_NUMPY_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")


def load_pickle(file):
    """Return the content of an open pickle file, whose Python 2 strings are read as latin-1.

    Raises:
        pickle.UnpicklingError: the file asks for something other than plain data.
    """
    return _DataUnpickler(file, encoding="latin1").load()


def load_torch(file):
    """Return the content of a ``torch.save`` file on the CPU; only tensors and plain data."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise pickle.UnpicklingError(
            f"{file} holds more than tensors and plain data, and reading the rest could run any "
            f"code; if you trust its author, read it with torch.load(..., weights_only=False) and "
            f"save the weights alone. {error}"
        ) from error


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        found = _allowed().get((module, name))
        if found is None:
            raise pickle.UnpicklingError(
                f"the file asks for {module}.{name}, which is not plain data; weights are read "
                "without running code, so save them as numpy arrays or tensors"
            )
        return found


def _allowed():
    allowed = {("collections", "OrderedDict"): collections.OrderedDict}
    for module in ("builtins", "__builtin__"):
        allowed.update({(module, name): getattr(builtins, name) for name in _CONTAINERS})
    allowed["_codecs", "encode"] = _encode
    allowed["numpy", "ndarray"] = np.ndarray
    allowed["numpy", "dtype"] = np.dtype
    for module in _NUMPY_CORE:
        allowed[module, "_reconstruct"] = _reconstruct_array
        allowed[module, "scalar"] = _numpy_core().scalar
    allowed["numpy._core.numeric", "_frombuffer"] = _frombuffer
    allowed["numpy.core.numeric", "_frombuffer"] = _frombuffer
    allowed["torch", "Size"] = torch.Size
    allowed["torch._utils", "_rebuild_tensor_v2"] = torch._utils._rebuild_tensor_v2
    allowed["torch._utils", "_rebuild_parameter"] = torch._utils._rebuild_parameter
    allowed["torch.storage", "_load_from_bytes"] = _load_storage
    return allowed


def _numpy_core():
    return np._core.multiarray if hasattr(np, "_core") else np.core.multiarray


def _reconstruct_array(subtype, shape, dtype):
    if subtype is not np.ndarray:
        raise pickle.UnpicklingError(f"an array of type {subtype} is not plain data")
    return np.ndarray.__new__(subtype, shape, dtype)


def _frombuffer(buffer, dtype, shape, order, *_axes):
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _encode(text, encoding="latin1", errors="strict"):
    if encoding not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise pickle.UnpicklingError(f"text encoding {encoding} is not plain data")
    return codecs.encode(text, encoding, errors)


def _load_storage(content):
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
