"""Configurations and weights that come along, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.utils.file_io import PathHandler, PathManager

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


class ResourceHandler(PathHandler):
    """Lets configurations name files of this project from any folder: ``freeseg://weights/...``."""

    PREFIX = "freeseg://"

    def _get_supported_prefixes(self) -> list[str]:
        return [self.PREFIX]

    def _get_local_path(self, path: str, **_: Any) -> str:
        return str(resource(path[len(self.PREFIX) :]))

    def _open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        return PathManager.open(self._get_local_path(path), mode, **kwargs)


PathManager.register_handler(ResourceHandler())
