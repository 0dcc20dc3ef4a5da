"""Configurations and weights that come along, in a checkout and in an installed package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from detectron2.utils.file_io import PathHandler, PathManager

PREFIX = "freeseg://"

_PACKAGE = Path(__file__).resolve().parent
# A wheel has them inside the package (see setup.py), a checkout beside it.
_ROOTS = (_PACKAGE / "bundled", _PACKAGE.parent)


def resource(relative: str) -> Path:
    """Returns where a file of this project is, such as "configs/camvid/....yaml".

    Raises:
        FileNotFoundError: When it is not a part of this installation.
    """
    for root in _ROOTS:
        if (root / relative).is_file():
            return root / relative
    raise FileNotFoundError(f"{relative} is not a part of this installation of freeseg")


def local_path(path: str | os.PathLike[str]) -> str:
    """Returns where a path is on this machine: ``freeseg://configs/...`` is a file of this project.

    A "~" is the user's home.

    Raises:
        FileNotFoundError: When it is not a part of this installation.
    """
    name = os.fspath(path)
    _, prefix, relative = name.rpartition(PREFIX)
    if not prefix:
        return os.path.expanduser(name)
    return relative if os.path.isabs(relative) else str(resource(relative))


def config_address(path: str | os.PathLike[str]) -> str:
    """Returns a name of a yaml file under which its ``_BASE_`` may be ``freeseg://configs/...``.

    fvcore takes such a base for a path relative to the folder of the file. With a name of ours,
    the folder is ours too, and so what comes of it is given to `ResourceHandler`.
    """
    return PREFIX + os.path.abspath(local_path(path))


class ResourceHandler(PathHandler):
    """Lets configurations name files of this project from any folder: ``freeseg://weights/...``."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, **_: Any) -> str:
        return local_path(path)

    def _isfile(self, path: str, **_: Any) -> bool:
        try:
            return os.path.isfile(local_path(path))
        except FileNotFoundError:
            return False

    def _exists(self, path: str, **_: Any) -> bool:
        return self._isfile(path)

    def _open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        return PathManager.open(self._get_local_path(path), mode, **kwargs)


PathManager.register_handler(ResourceHandler())
