"""What is wrong with a dataset: all of it in one list, each in a line that names the place."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType

EXAMPLES = 5  # lines of one kind; how many more there are is said in the last


class RefusalError(ValueError):
    """What a user asked for cannot be done; one line for every problem.

    Attributes:
        problems: The lines.
    """

    is_about_data = True  # see `freeseg_command.messages.exit_code_of`

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DataError(RefusalError):
    """A dataset cannot be used."""


class Problems:
    """Collects errors, after which a dataset cannot be used, and warnings, after which it can.

    A line says file, entry, what was found and what is wanted. Lines of one kind, a few words, are
    counted: the first ones are kept.
    """

    def __init__(self) -> None:
        self._errors: dict[str, list[str]] = {}
        self._warnings: dict[str, list[str]] = {}

    def error(self, kind: str, line: str) -> None:
        """Adds a line of a kind that forbids to use the dataset."""
        self._errors.setdefault(kind, []).append(" ".join(line.split()))

    def warn(self, kind: str, line: str) -> None:
        """Adds a line of a kind that a user should know of."""
        self._warnings.setdefault(kind, []).append(" ".join(line.split()))

    def extend(self, other: Problems) -> None:
        """Adds what others have collected."""
        for own, more in ((self._errors, other._errors), (self._warnings, other._warnings)):
            for kind, lines in more.items():
                own.setdefault(kind, []).extend(lines)

    def collecting(self, kind: str) -> _Collecting:
        """Turns an error that is raised inside `with` into one of the list; may be used again."""
        return _Collecting(self, kind)

    @property
    def errors(self) -> list[str]:
        """All errors, the first few of each kind."""
        return _lines(self._errors)

    @property
    def warnings(self) -> list[str]:
        """All warnings, the first few of each kind."""
        return _lines(self._warnings)

    @property
    def num_errors(self) -> int:
        """How many errors there are, also those that are not shown."""
        return sum(map(len, self._errors.values()))

    def raise_errors(self) -> None:
        """Raises DataError with all errors, if there are any."""
        if self._errors:
            raise DataError(self.errors)


class _Collecting(contextlib.AbstractContextManager[None]):
    """A class, as a generator's context takes longer than the check of a row inside it."""

    def __init__(self, problems: Problems, kind: str) -> None:
        self._problems = problems
        self._kind = kind

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        lines: Sequence[str]
        if isinstance(error, DataError):
            lines = error.problems
        elif isinstance(error, (ValueError, TypeError, OSError, NotImplementedError)):
            lines = [str(error)]
        else:
            return False
        for line in lines:
            self._problems.error(self._kind, line)
        return True


def _lines(by_kind: dict[str, list[str]]) -> list[str]:
    lines: list[str] = []
    for kind, found in by_kind.items():
        lines += found[:EXAMPLES]
        rest = len(found) - EXAMPLES
        if rest > 0:
            lines.append(f"... and {rest} more of this kind ({kind})")
    return lines
