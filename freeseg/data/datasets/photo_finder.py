"""Where the photos are that an annotation file names, also where it was written elsewhere."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from freeseg.data.problems import Problems

# Label Studio stores an upload under eight digits of its hash and its name
_UPLOAD_HASH = re.compile(r"^[0-9a-f]{8}-")


def composed(name: str) -> str:
    """A name in Unicode's composed form: two that look alike are one."""
    return unicodedata.normalize("NFC", name)


class PhotoFinder:
    r"""Finds files under a folder by the names that an annotation tool has given them.

    A name is taken as it is written. If there is no such file: with "/" for the "\" of Windows,
    without the quoting of web addresses, and then by its last part alone, anywhere below the
    folder, where just one file is called so, with or without the hash that Label Studio puts
    before a name. Names that only differ in the Unicode form of their letters, as those that macOS
    writes, are the same.
    """

    def __init__(self, folder: Path, source: Path, problems: Problems) -> None:
        """Looks into a folder.

        Args:
            folder: Where the files are.
            source: The file that names them, for messages.
            problems: Gets an error for a name that several files have, and a warning that counts
                names that were found by their last part.
        """
        self._folder = folder
        self._source = source
        self._problems = problems
        self._moved: list[tuple[str, str]] = []
        self._in_other_capitals: list[tuple[str, str]] = []
        self._listed: dict[str, dict[str, str]] = {}

    def find(self, name: str) -> Path:
        """The file that a name stands for; what it literally says where there is none."""
        slashed = name.replace("\\", "/")
        for spelling in dict.fromkeys((name, slashed, unquote(slashed))):
            path = self._folder / spelling
            names = self._names_in(str(path.parent))
            found_name = names.get(path.name, names.get(composed(path.name)))
            if found_name is not None:
                return path if found_name == path.name else path.with_name(found_name)
        last = PurePosixPath(unquote(slashed).rpartition("?d=")[2]).name  # local files' addresses
        found = self._by_last_part(last)
        if len(found) > 1:
            self._problems.error(
                "several photos of one name",
                f"{self._source}: {name!r} is not in {self._folder}, and "
                f"{len(found)} files there are called {found[0].name!r}",
            )
        if not found and composed(last).casefold() in self._by_casefold:
            self._in_other_capitals.append((name, self._by_casefold[composed(last).casefold()]))
        if len(found) != 1:
            return self._folder / slashed
        self._moved.append((name, str(found[0].relative_to(self._folder))))
        return found[0]

    def report(self) -> None:
        """Says, once, which names were found by their last part, or only in other capitals."""
        if self._in_other_capitals:
            name, place = self._in_other_capitals[0]
            self._problems.error(
                "names in other capitals",
                f"{self._source}: {len(self._in_other_capitals)} file names differ in capitals "
                f"from what is in {self._folder}, such as {name!r} from {place!r}",
            )
        if self._moved:
            name, place = self._moved[0]
            self._problems.warn(
                "names of another place",
                f"{self._source}: {len(self._moved)} file names are of another place and were "
                f"found by their last part, such as {name!r} as {place!r}",
            )

    def _names_in(self, folder: str) -> dict[str, str]:
        """What a folder holds, also by composed names: one look instead of one for each file."""
        if folder not in self._listed:
            try:
                names = os.listdir(folder)
            except OSError:  # no such folder
                names = []
            by_composed = {composed(name): name for name in names}
            self._listed[folder] = {**by_composed, **dict(zip(names, names))}
        return self._listed[folder]

    def _by_last_part(self, last: str) -> Sequence[Path]:
        if not last:
            return ()
        last = composed(last)
        for spelling in dict.fromkeys((last, _UPLOAD_HASH.sub("", last))):
            if spelling in self._files:
                return self._files[spelling]
        return self._uploads.get(last, ())

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """All files below the folder by their composed names."""
        files: dict[str, list[Path]] = {}
        for folder, _, names in sorted(os.walk(self._folder)):  # messages name the first
            for name in names:
                files.setdefault(composed(name), []).append(Path(folder) / name)
        return files

    @cached_property
    def _by_casefold(self) -> dict[str, str]:
        """Where files lie below the folder, by their names without capitals."""
        return {
            name.casefold(): str(paths[0].relative_to(self._folder))
            for name, paths in self._files.items()
        }

    @cached_property
    def _uploads(self) -> dict[str, list[Path]]:
        """The files that have a hash before their name, by the name alone."""
        uploads: dict[str, list[Path]] = {}
        for name, paths in self._files.items():
            if _UPLOAD_HASH.match(name):
                uploads.setdefault(_UPLOAD_HASH.sub("", name), []).extend(paths)
        return uploads
