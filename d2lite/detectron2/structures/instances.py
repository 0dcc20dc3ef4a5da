"""What is known about the objects of one image, one named field at a time."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import torch


class Instances:
    """Named fields (boxes, masks, classes, scores ...) of equal length for one image.

    Public attributes are the fields: setting one checks its length, indexing selects from all of
    them. Attributes that start with "_" are the object's own.
    """

    def __init__(self, image_size: tuple[int, int], **kwargs: Any):
        self._image_size = image_size
        self._fields: dict[str, Any] = {}
        for name, value in kwargs.items():
            self.set(name, value)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self._image_size

    def __setattr__(self, name: str, val: Any) -> None:
        if name[:1] == "_":
            object.__setattr__(self, name, val)
        else:
            self.set(name, val)

    def __getattr__(self, name: str) -> Any:
        # "_fields" itself is asked for here by copy and pickle, before there is one
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"Cannot find field '{name}' in the given Instances!")
        return self._fields[name]

    def set(self, name: str, value: Any) -> None:
        """Add or replace a field, as long as the fields already there."""
        with warnings.catch_warnings(record=True):  # a trace warns about len()
            length = len(value)
        if self._fields:
            assert length == len(self), (
                f"Adding a field of length {length} to a Instances of length {len(self)}"
            )
        self._fields[name] = value

    def has(self, name: str) -> bool:
        return name in self._fields

    def remove(self, name: str) -> None:
        self._fields.pop(name)

    def get(self, name: str) -> Any:
        return self._fields[name]

    def get_fields(self) -> dict[str, Any]:
        """Return the fields by name; changing the dict changes this object."""
        return self._fields

    def to(self, *args: Any, **kwargs: Any) -> Instances:
        """Return a copy whose fields are moved, where they can be."""
        return self._map(lambda v: v.to(*args, **kwargs) if hasattr(v, "to") else v)

    def __getitem__(self, item: Any) -> Instances:
        """Select instances by int, slice, or integer or bool tensor."""
        if type(item) is int:
            if not -len(self) <= item < len(self):
                raise IndexError("Instances index out of range!")
            item = slice(item, None, len(self))  # keeps the dimension; right for negatives too
        return self._map(lambda value: value[item])

    def _map(self, change: Any) -> Instances:
        changed = {name: change(value) for name, value in self._fields.items()}
        result = Instances(self._image_size)
        for name, value in changed.items():
            result.set(name, value)
        return result

    def __len__(self) -> int:
        for value in self._fields.values():
            return value.__len__()  # not len(): that makes an int out of a traced length
        raise NotImplementedError("Empty Instances does not support __len__!")

    def __iter__(self):
        raise NotImplementedError("`Instances` object is not iterable!")

    @staticmethod
    def cat(instance_lists: list[Instances]) -> Instances:
        """Join instances of one image that have the same fields."""
        assert len(instance_lists) > 0
        assert all(isinstance(instances, Instances) for instances in instance_lists)
        first = instance_lists[0]
        if len(instance_lists) == 1:
            return first
        if not isinstance(first.image_size, torch.Tensor):  # a tensor while tracing
            sizes = [instances.image_size for instances in instance_lists]
            assert all(size == first.image_size for size in sizes), sizes
        joined = Instances(first.image_size)
        for name in first._fields:
            joined.set(name, _join([instances.get(name) for instances in instance_lists]))
        return joined

    def __str__(self) -> str:
        height, width = self._image_size
        fields = ", ".join(f"{name}: {value}" for name, value in self._fields.items())
        return (
            f"{type(self).__name__}(num_instances={len(self)}, image_height={height}, "
            f"image_width={width}, fields=[{fields}])"
        )

    __repr__ = __str__


def _join(values: list[Any]) -> Any:
    kind = type(values[0])
    if isinstance(values[0], torch.Tensor):
        return torch.cat(values, dim=0)
    if isinstance(values[0], list):
        return list(itertools.chain.from_iterable(values))
    if hasattr(kind, "cat"):
        return kind.cat(values)
    raise ValueError(f"Unsupported type {kind} for concatenation")
