"""Runs Python config files so that `from .other import x` inside them reads a file by its path.

Such imports need no package around the files, are never cached (a change made by one config does
not reach another), may go through the path manager, and turn imported dicts into configs.
"""

from __future__ import annotations

import ast
import builtins
import os
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from detectron2.utils.file_io import PathManager

CONFIG_PACKAGE = "detectron2._cfg_loader"  # marks code that runs as a config file


def run_file(filename: str) -> dict[str, Any]:
    """Execute a config file and return its names."""
    with PathManager.open(filename, "r") as f:
        source = f.read()
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise SyntaxError(f"Config file {filename} has syntax error!") from error
    package = f"{CONFIG_PACKAGE}{uuid.uuid4().hex[:4]}.{os.path.basename(filename)}"
    namespace = {"__file__": filename, "__package__": package}
    # compiled under its own name: for tracebacks, and for `load_rel` to know where it is called
    exec(compile(source, filename, "exec"), namespace)
    return namespace


@contextmanager
def relative_imports_read_files(convert: Callable[[Any], Any]):
    """Within this context relative imports of config files read files; `convert` maps values."""
    import_as_usual = builtins.__import__

    def import_config(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        package = (globals or {}).get("__package__") or ""
        if level == 0 or not package.startswith(CONFIG_PACKAGE):
            return import_as_usual(name, globals, locals, fromlist=fromlist, level=level)
        filename = _find_file(globals["__file__"], name, level)
        module = ModuleType(name)
        module.__dict__.update(run_file(filename))
        for imported in fromlist:
            setattr(module, imported, convert(module.__dict__[imported]))
        return module

    builtins.__import__ = import_config
    try:
        yield import_config
    finally:
        builtins.__import__ = import_as_usual


def _find_file(importer: str, name: str, level: int) -> str:
    """Return the path of the config file that `name`, with `level` leading dots, means."""
    only_files = (
        "Relative import of directories is not allowed within config files: "
        "a relative import can only import another config file."
    )
    if not name:
        raise ImportError(only_files)
    folder = importer
    for _ in range(level):
        folder = os.path.dirname(folder)
    path = os.path.join(folder, *name.lstrip(".").split("."))
    filename = path if path.endswith(".py") else path + ".py"
    if PathManager.isfile(filename):
        return filename
    if PathManager.isdir(path):
        raise ImportError(f"Cannot import from {path}. {only_files}")
    raise ImportError(f"Cannot import name {name} from {importer}: {filename} does not exist.")
