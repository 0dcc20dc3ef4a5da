"""Configs written in Python: `LazyCall` records a call, `LazyConfig` loads, saves and edits them.

omegaconf is imported when first needed.
"""

from __future__ import annotations

import ast
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import yaml

from detectron2.config._lazy_import import CONFIG_PACKAGE, relative_imports_read_files, run_file
from detectron2.config._lazy_text import to_text
from detectron2.utils.file_io import PathManager
from detectron2.utils.registry import _convert_target_to_string

__all__ = ["LazyCall", "LazyConfig"]

_CFG_PACKAGE_NAME = CONFIG_PACKAGE


class LazyCall:
    """Called with keyword arguments, returns a config that describes the call: nothing is done."""

    def __init__(self, target: Any):
        if not (callable(target) or isinstance(target, (str, Mapping))):
            raise TypeError(
                f"target of LazyCall must be a callable or defines a callable! Got {target}"
            )
        self._target = target

    def __call__(self, **kwargs: Any) -> Any:
        # omegaconf takes a dataclass type for a structured config, so that goes in by name
        is_dataclass = dataclasses.is_dataclass(self._target)
        kwargs["_target_"] = (
            _convert_target_to_string(self._target) if is_dataclass else self._target
        )
        return _cast_to_config(kwargs)


class LazyConfig:
    """Loads, saves, overrides and prints omegaconf configs that may hold lazy calls."""

    @staticmethod
    def load_rel(filename: str, keys: str | tuple[str, ...] | None = None) -> Any:
        """Load a file named relative to the file of the caller; see `load`."""
        caller = sys._getframe(1).f_code.co_filename
        assert caller != "<string>", "load_rel Unable to find caller"
        return LazyConfig.load(os.path.join(os.path.dirname(caller), filename), keys)

    @staticmethod
    def load(filename: str, keys: str | tuple[str, ...] | None = None) -> Any:
        """Load a .py or .yaml config: one value for a key, a tuple for keys, else all configs."""
        from omegaconf import DictConfig, ListConfig, OmegaConf

        filename = filename.replace("/./", "/")
        extension = os.path.splitext(filename)[1]
        if extension == ".py":
            with relative_imports_read_files(_cast_to_config):
                loaded = run_file(filename)
        elif extension in (".yaml", ".yml"):
            with PathManager.open(filename) as f:
                loaded = OmegaConf.create(yaml.unsafe_load(f), flags={"allow_objects": True})
        else:
            raise ValueError(f"Config file {filename} has to be a python or yaml file.")

        if isinstance(keys, str):
            return _cast_to_config(loaded[keys])
        if keys is not None:
            return tuple(_cast_to_config(loaded[key]) for key in keys)
        if extension != ".py":
            return loaded
        configs = {
            name: _cast_to_config(value)
            for name, value in loaded.items()
            if isinstance(value, (DictConfig, ListConfig, dict)) and not name.startswith("_")
        }
        return DictConfig(configs, flags={"allow_objects": True})

    @staticmethod
    def save(cfg: Any, filename: str) -> None:
        """Save as yaml; what yaml cannot hold (a lambda) goes to `filename.pkl` with a warning."""
        logger = logging.getLogger(__name__)
        cfg = _with_targets_by_name(cfg)
        try:
            text = _to_yaml(cfg)
            with PathManager.open(filename, "w") as f:
                f.write(text)
        except Exception:
            logger.exception("Unable to serialize the config to yaml. Error:")
            is_loadable = False
        else:
            is_loadable = _loads_as_yaml(text)
            if not is_loadable:
                logger.warning(f"{filename} can be read by people but not loaded: not valid yaml")
        if not is_loadable:
            _save_pickle(cfg, filename + ".pkl")

    @staticmethod
    def apply_overrides(cfg: Any, overrides: list[str]) -> Any:
        """Change `cfg` in place by strings "key.path=value" (hydra's grammar) and return it."""
        for key, value in _parse_overrides(overrides):
            _update(cfg, key, value)
        return cfg

    @staticmethod
    def to_py(cfg: Any, prefix: str = "cfg.") -> str:
        """Return the config as Python-like text for people to read."""
        from omegaconf import OmegaConf

        return to_text(OmegaConf.to_container(cfg, resolve=True), prefix)


def _cast_to_config(obj: Any) -> Any:
    from omegaconf import DictConfig

    return DictConfig(obj, flags={"allow_objects": True}) if isinstance(obj, dict) else obj


def _visit_dict_config(cfg: Any, func: Callable[[Any], None]) -> None:
    from omegaconf import DictConfig, ListConfig

    if isinstance(cfg, DictConfig):
        func(cfg)
        children = cfg.values()
    else:
        children = cfg if isinstance(cfg, ListConfig) else ()
    for child in children:
        _visit_dict_config(child, func)


def _with_targets_by_name(cfg: Any) -> Any:
    """Return a copy whose call targets are dotted names; `cfg` itself if it cannot be copied."""

    def rename(node: Any) -> None:
        if "_target_" in node and callable(node._target_):
            try:
                node._target_ = _convert_target_to_string(node._target_)
            except AttributeError:
                logging.getLogger(__name__).debug(f"{node._target_} has no importable name")

    try:
        cfg = deepcopy(cfg)
    except Exception:
        return cfg
    _visit_dict_config(cfg, rename)
    return cfg


def _to_yaml(cfg: Any) -> str:
    from omegaconf import OmegaConf, SCMode

    # interpolations stay as they are written; dataclasses keep their type
    mode = SCMode.INSTANTIATE
    container = OmegaConf.to_container(cfg, resolve=False, structured_config_mode=mode)
    return yaml.dump(container, default_flow_style=None, allow_unicode=True, width=9999)


def _loads_as_yaml(text: str) -> bool:
    try:
        yaml.unsafe_load(text)
    except Exception:
        return False
    return True


def _save_pickle(cfg: Any, filename: str) -> None:
    import cloudpickle

    logger = logging.getLogger(__name__)
    try:
        with PathManager.open(filename, "wb") as f:
            cloudpickle.dump(cfg, f)
    except Exception:
        logger.debug("the config cannot be pickled either", exc_info=True)
    else:
        logger.warning(f"Config is saved using cloudpickle at {filename}.")


def _parse_overrides(overrides: list[str]) -> list[tuple[str, Any]]:
    try:
        from hydra.core.override_parser.overrides_parser import OverridesParser
    except ImportError:
        return [_parse_simple_override(override) for override in overrides]
    parsed = OverridesParser.create().parse_overrides(overrides)
    if any(override.is_delete() for override in parsed):
        raise NotImplementedError("deletion is not yet a supported override")
    return [(override.key_or_group, override.value()) for override in parsed]


def _parse_simple_override(override: str) -> tuple[str, Any]:
    key, _, text = override.partition("=")
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return key, text


def _update(cfg: Any, key: str, value: Any) -> None:
    """Set a dotted key, refusing to replace a plain value by a section."""
    from omegaconf import OmegaConf

    sections = key.split(".")[:-1]
    for depth in range(1, len(sections) + 1):
        prefix = ".".join(sections[:depth])
        node = OmegaConf.select(cfg, prefix, default=None)
        if node is None:
            break
        if not OmegaConf.is_config(node):
            raise KeyError(
                f"Trying to update key {key}, but {prefix} is not a config, "
                f"but has type {type(node)}."
            )
    OmegaConf.update(cfg, key, value, merge=True)
