"""What is wrong with a job before its first step is its user's to mend: lines, no traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from freeseg.data.datasets.json_rows import MissingDataError
from freeseg.data.problems import RefusalError


class JobError(RefusalError):
    """A job cannot begin: nothing was trained or evaluated yet."""


@contextlib.contextmanager
def beginning() -> Iterator[None]:
    """Turns a value or a file that cannot be used before the first step into a JobError.

    Raises:
        JobError: With one line; errors that have lines of their own stay what they are.
    """
    try:
        yield
    except (RefusalError, MissingDataError):
        raise
    except (ValueError, OSError, NotImplementedError) as error:
        raise JobError([" ".join(str(error).split())]) from error


def require_output_folder(path: str) -> None:
    """Refuses an OUTPUT_DIR that is a file, or that lies in one.

    Raises:
        ValueError: Names the file.
    """
    for part in (Path(path), *Path(path).parents):
        if part.exists() and not part.is_dir():
            raise ValueError(f"OUTPUT_DIR is {path}, but {part} is a file: name a folder")
