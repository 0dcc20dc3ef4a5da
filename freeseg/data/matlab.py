"""Reads files of MATLAB, in which some data sets have their annotation."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from freeseg.image_headers import DECODING_ERRORS


def read_matlab(file: Path, name: str) -> Any:
    """A variable of a file, structures as dicts and cells as arrays.

    Args:
        file: Of any version before 7.3.
        name: Of the variable.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, is damaged, or has no such variable; names it.
    """
    from scipy.io import loadmat  # slow to import
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(file, simplify_cells=True)[name]
    except FileNotFoundError:
        raise
    except (*DECODING_ERRORS, MatReadError, zlib.error) as error:
        raise ValueError(f"{file} has no variable {name}: {error}") from error
