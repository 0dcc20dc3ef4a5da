"""Configurations and weights that come along, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
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
