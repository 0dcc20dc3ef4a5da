"""The weights in a TorchScript archive, read as data: its code is neither compiled nor run.

An archive is a zip file that holds a pickled tree of modules (data.pkl), the values of every tensor
(data/N) and the code of every class (code/...), whose first lines say which tensors are weights.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from freeseg.checkpoints.plain_pickle import PlainUnpickler

MARK = "constants.pkl"  # a file that no other zip file of PyTorch's has
CODE = "__torch__"  # what the modules of scripted classes begin with
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# calls that only tell what a list or a dictionary holds
_TYPE_NOTES = {
    "build_intlist",
    "build_tensorlist",
    "build_doublelist",
    "build_boollist",
    "restore_type_tag",
}


def is_archive(path: str | Path) -> bool:
    """True for a zip file that holds code beside its tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith(f"/{MARK}") for name in file.namelist())


def read_archive(path: str | Path) -> dict[str, Tensor]:
    """The parameters and buffers of the module in an archive, in their own precision.

    Raises:
        pickle.UnpicklingError: When it holds what only its own code could restore.
    """
    with zipfile.ZipFile(path) as file:
        archive = _Archive(file)
        return dict(archive.weights(_ArchiveUnpickler(archive).load()))


class _Archive:
    """The files of an archive by their names inside its one folder."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file
        mark = next(name for name in file.namelist() if name.endswith(f"/{MARK}"))
        self.folder = mark[: -len(MARK)]

    def read(self, name: str) -> bytes:
        return self.file.read(self.folder + name)

    def weights(self, scripted: _Scripted, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Names and values, those of a module before those of the modules in it."""
        for name in self._weight_names(scripted):
            if isinstance(scripted.fields.get(name), Tensor):
                yield prefix + name, scripted.fields[name]
        for name, value in scripted.fields.items():
            if isinstance(value, _Scripted):
                yield from self.weights(value, f"{prefix}{name}.")

    def _weight_names(self, scripted: _Scripted) -> list[str]:
        """What the code of a class declares to be parameters and buffers; other tensors are not."""
        code = self.read(f"code/{scripted.module.replace('.', '/')}.py").decode()
        lists = r"\n  __parameters__ = \[(.*)\](?:\n  __buffers__ = \[(.*)\])?"
        name = re.escape(type(scripted).__name__)
        found = re.search(rf"^class {name}\(Module\):{lists}", code, re.MULTILINE)
        return re.findall(r'"(.+?)"', " ".join(found.groups(""))) if found else []


class _Scripted:
    """An object of a scripted class: its fields, and nothing that its class can do."""

    module: str
    fields: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):  # what __getstate__ returned, for __setstate__ to restore
            raise pickle.UnpicklingError(
                f"{self.module}.{type(self).__name__} asks for code of its own to be restored"
            )
        self.fields = state


class _ArchiveUnpickler(PlainUnpickler):
    """Makes tensors and fields of scripted objects too."""

    def __init__(self, archive: _Archive) -> None:
        super().__init__(io.BytesIO(archive.read("data.pkl")))
        self.archive = archive

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == CODE:
            return type(name, (_Scripted,), {"module": module, "fields": {}})
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch.jit._pickle" and name in _TYPE_NOTES:
            return _without_type
        return super().find_class(module, name)

    def persistent_load(self, reference: Any) -> Tensor:
        """All values of a storage, whatever device they were on: [length]."""
        _, dtype, name, _, _ = reference
        content = bytearray(self.archive.read(f"data/{name}"))
        return torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)


def _rebuild_tensor(
    values: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    return values.as_strided(size, stride, offset)


def _without_type(value: Any, *_: Any) -> Any:
    return value
