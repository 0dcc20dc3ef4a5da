"""The yaml config node, the global config and the `configurable` decorator."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Any

from fvcore.common.config import CfgNode as _FvcoreNode

from detectron2.utils.file_io import PathManager

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class CfgNode(_FvcoreNode):
    """fvcore's node with versions: merging an older config file upgrades it on the way.

    As upstream, yaml tags that run code are allowed by default: read a stranger's file first.
    """

    @classmethod
    def _open_cfg(cls, filename: str) -> Any:
        return PathManager.open(filename, "r")

    def merge_from_file(self, cfg_filename: str, allow_unsafe: bool = True) -> None:
        """Merge a yaml file and its `_BASE_` chain into this config, which must be complete."""
        from detectron2.config.compat import downgrade_config, guess_version, upgrade_config
        from detectron2.config.defaults import _C

        assert PathManager.isfile(cfg_filename), f"Config file '{cfg_filename}' does not exist!"
        loaded = type(self)(self.load_yaml_with_base(cfg_filename, allow_unsafe=allow_unsafe))
        assert self.VERSION == _C.VERSION, (
            f"can only merge a file into a config of version {_C.VERSION}, not {self.VERSION}"
        )
        version = loaded.get("VERSION", None)
        if version is None:
            version = guess_version(loaded, cfg_filename)
        assert version <= self.VERSION, (
            f"cannot merge a config of version {version} into one of version {self.VERSION}"
        )
        if version == self.VERSION:
            self.merge_from_other_cfg(loaded)
            return
        logging.getLogger(__name__).warning(
            f"'{cfg_filename}' is a config of version {version}: upgrading to {self.VERSION}"
        )
        old_complete = downgrade_config(self, to_version=version)
        old_complete.merge_from_other_cfg(loaded)
        upgraded = upgrade_config(old_complete)
        self.clear()
        self.update(upgraded)

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """Return the config as yaml text."""
        return super().dump(*args, **kwargs)


global_cfg = CfgNode()


def get_cfg() -> CfgNode:
    """Return a fresh copy of the default config."""
    from detectron2.config.defaults import _C

    return _C.clone()


def set_global_cfg(cfg: CfgNode) -> None:
    """Make `detectron2.config.global_cfg`, the one object, hold what `cfg` holds."""
    global_cfg.clear()
    global_cfg.update(cfg)


def configurable(
    init_func: Callable | None = None, *, from_config: Callable | None = None
) -> Callable:
    """Let an `__init__`, or a function, also be called with a config.

    On `__init__` the class's classmethod `from_config(cls, cfg, ...)` turns the config into keyword
    arguments; on a function, `from_config=` gives that translator. Explicit keyword arguments win.
    """
    if init_func is not None:
        is_init = inspect.isfunction(init_func) and init_func.__name__ == "__init__"
        assert is_init, "@configurable without from_config=... goes on __init__"
        assert from_config is None, "on __init__, from_config is a classmethod of the class"
        return _configurable_init(init_func)
    if from_config is None:
        return configurable
    assert inspect.isfunction(from_config), (
        "from_config argument of configurable must be a function!"
    )

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if _called_with_cfg(*args, **kwargs):
                return function(**_get_args_from_config(from_config, *args, **kwargs))
            return function(*args, **kwargs)

        wrapped.from_config = from_config
        return wrapped

    return decorate


def _configurable_init(init_func: Callable) -> Callable:
    @functools.wraps(init_func)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        wanted = "Class with @configurable must have a 'from_config' classmethod."
        if not hasattr(type(self), "from_config"):
            raise AttributeError(wanted)
        translate = type(self).from_config
        if not inspect.ismethod(translate):
            raise TypeError(wanted)
        if _called_with_cfg(*args, **kwargs):
            init_func(self, **_get_args_from_config(translate, *args, **kwargs))
        else:
            init_func(self, *args, **kwargs)

    return wrapped


def _called_with_cfg(*args: Any, **kwargs: Any) -> bool:
    """Whether the first positional argument, or `cfg=`, is a config."""
    config_types: tuple = (_FvcoreNode,)
    if "omegaconf" in sys.modules:  # else nobody can have made a DictConfig
        config_types += (sys.modules["omegaconf"].DictConfig,)
    return any(isinstance(value, config_types) for value in [*args[:1], kwargs.get("cfg")])


def _get_args_from_config(from_config_func: Callable, *args: Any, **kwargs: Any) -> dict:
    """Call the translator and add the keyword arguments which it does not take itself."""
    parameters = inspect.signature(from_config_func).parameters
    if next(iter(parameters), None) != "cfg":
        owner = getattr(from_config_func, "__self__", None)
        name = f"{owner}.from_config" if owner else from_config_func.__name__
        raise TypeError(f"{name} must take 'cfg' as the first argument!")
    if any(parameter.kind in _VARIADIC for parameter in parameters.values()):
        return from_config_func(*args, **kwargs)
    taken = {name: value for name, value in kwargs.items() if name in parameters}
    explicit = {name: value for name, value in kwargs.items() if name not in parameters}
    arguments = from_config_func(*args, **taken)
    arguments.update(explicit)
    return arguments
