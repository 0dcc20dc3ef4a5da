"""Builds the objects that a lazy config describes."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from detectron2.utils.registry import _convert_target_to_string, locate

__all__ = ["dump_dataclass", "instantiate"]


def dump_dataclass(obj: Any) -> dict:
    """Return a dataclass instance, and those inside it, as dicts that `instantiate` turns back."""
    assert _is_dataclass_instance(obj), "dump_dataclass() requires an instance of a dataclass."
    dumped = {"_target_": _convert_target_to_string(type(obj))}
    for field in dataclasses.fields(obj):
        value = getattr(obj, field.name)
        if isinstance(value, (list, tuple)):
            dumped[field.name] = [_dump_if_dataclass(item) for item in value]
        else:
            dumped[field.name] = _dump_if_dataclass(value)
    return dumped


def instantiate(cfg: Any) -> Any:
    """Call every `_target_` in a nested config with its other keys, innermost first.

    Anything that is not a config with a target is returned as it is.
    """
    from omegaconf import DictConfig, ListConfig, OmegaConf

    if isinstance(cfg, ListConfig):
        return ListConfig([instantiate(item) for item in cfg], flags={"allow_objects": True})
    if isinstance(cfg, list):
        return [instantiate(item) for item in cfg]
    if isinstance(cfg, DictConfig) and dataclasses.is_dataclass(cfg._metadata.object_type):
        return OmegaConf.to_object(cfg)
    if isinstance(cfg, Mapping) and "_target_" in cfg:
        arguments = {name: instantiate(value) for name, value in cfg.items()}
        return _call(arguments.pop("_target_"), arguments)
    return cfg


def _call(target: Any, arguments: dict) -> Any:
    name = target if isinstance(target, str) else _name_of(target)
    if isinstance(target, str):
        target = locate(target)
        assert target is not None, name
    assert callable(target), f"_target_ {target} does not define a callable object"
    try:
        return target(**arguments)
    except TypeError:
        logging.getLogger(__name__).error(f"Error when instantiating {name}!")
        raise


def _name_of(target: Any) -> str:
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    return f"{module}.{name}" if module and name else str(target)


def _is_dataclass_instance(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _dump_if_dataclass(value: Any) -> Any:
    return dump_dataclass(value) if _is_dataclass_instance(value) else value
