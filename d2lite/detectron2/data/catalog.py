"""The two global registries: dataset name -> loader function, dataset name -> metadata."""

from __future__ import annotations

import builtins
import logging
import types
from collections import UserDict
from collections.abc import Callable
from typing import Any

from detectron2._missing import UPSTREAM, missing
from detectron2.utils.logger import log_first_n

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]


class _NamedRegistry(UserDict):
    """What the two catalogs share: listing, removal and a printable form."""

    _content = "names"

    # Annotated with typing.List, because inside the class `list` is this method.
    def list(self) -> builtins.list[str]:
        """Return the registered names in order of registration."""
        return [*self]

    def remove(self, name: str) -> None:
        """Forget a name; the same as ``pop`` without the value."""
        del self[name]

    def __repr__(self) -> str:
        return f"{type(self).__name__[1:]}(registered {self._content}: {', '.join(self)})"

    __str__ = __repr__


class _DatasetCatalog(_NamedRegistry):
    """Maps a dataset name to the function which loads it.

    A loader takes nothing and returns a list of dicts in Detectron2's dataset format (or a
    torch dataset), the same at every call. It runs when the dataset is asked for, so that
    registering costs nothing and touches no file.
    """

    _content = "datasets"

    def register(self, name: str, func: Callable[[], Any]) -> None:
        """Register a loader under a name which is not taken yet."""
        assert callable(func), f"dataset '{name}' needs a function to load it, got {type(func)}"
        assert name not in self, f"Dataset '{name}' is already registered!"
        self.data[name] = func

    def get(self, name: str) -> Any:
        """Load the dataset of that name.

        Raises:
            KeyError: if the name is unknown; the message lists the known ones.
            NotImplementedError: if only upstream registers it.
        """
        if name not in self and name in UPSTREAM["datasets"]:
            raise missing(f"the dataset {name}")
        if name not in self:
            known = ", ".join(self)
            raise KeyError(f"Dataset '{name}' is not registered! Available datasets are: {known}")
        return self.data[name]()


class Metadata(types.SimpleNamespace):
    """Facts about one dataset as attributes, each of which can be set to one value only.

    Setting an attribute again to an equal value is fine; to a different value it is an
    ``AssertionError``, because two parts of a program would then disagree about the dataset.

    Examples:
        >>> MetadataCatalog.get("mine").thing_classes = ["person", "dog"]
        >>> MetadataCatalog.get("mine").thing_classes
        ['person', 'dog']
    """

    # A class attribute, so that error messages can name an object that has no name of its own.
    name: str = "N/A"

    _RENAMED = {  # noqa: RUF012 - part of the public class, as a plain dict
        "class_names": "thing_classes",
        "dataset_id_to_contiguous_id": "thing_dataset_id_to_contiguous_id",
        "stuff_class_names": "stuff_classes",
    }

    def __getattr__(self, key: str) -> Any:  # called for missing attributes only
        if key in self._RENAMED:
            return getattr(self, self._current_name(key))
        self._refuse_if_left_out()
        known = [name for name in self.__dict__ if name != "name"]
        reason = f"Available keys are {list(self.__dict__)}." if known else "metadata is empty."
        raise AttributeError(
            f"Attribute '{key}' does not exist in the metadata of dataset '{self.name}': {reason}"
        )

    def __setattr__(self, key: str, val: Any) -> None:
        if key in self._RENAMED:
            key = self._current_name(key)
        unset = object()
        old = getattr(self, key, unset)
        if old is unset:
            super().__setattr__(key, val)
            return
        assert old == val, (
            f"Attribute '{key}' in the metadata of '{self.name}' cannot be set to a "
            f"different value!\n{old} != {val}"
        )

    def _refuse_if_left_out(self) -> None:
        if self.name in UPSTREAM["datasets"] and list(self.__dict__) == ["name"]:
            raise missing(f"the metadata of {self.name}")

    def _current_name(self, old_key: str) -> str:
        new_key = self._RENAMED[old_key]
        log_first_n(logging.WARNING, f"Metadata '{old_key}' was renamed to '{new_key}'!", n=10)
        return new_key

    def as_dict(self) -> dict:
        """Return the attributes as a new dict."""
        return dict(self.__dict__)

    def set(self, **kwargs: Any) -> Metadata:
        """Set several attributes and return self."""
        for key, value in kwargs.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """Return the attribute, or the default when there is none."""
        self._refuse_if_left_out()
        return getattr(self, key, default)


class _MetadataCatalog(_NamedRegistry):
    """Maps a dataset name to its ``Metadata``, which is created when first asked for."""

    _content = "metadata"

    def get(self, name: str) -> Metadata:
        """Return the one metadata object of that name."""
        assert len(name), "a dataset name cannot be empty"
        return self.data.setdefault(name, Metadata(name=name))


DatasetCatalog = _DatasetCatalog()
MetadataCatalog = _MetadataCatalog()
