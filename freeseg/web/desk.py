"""Takes requests for segmentations: one is worked on at a time, some wait, more are sent away."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from freeseg.segmenter import Segmenter
from freeseg.session import SessionStore, choose_tasks
from freeseg.structures.class_list import SEPARATOR
from freeseg.visualization.export import coco_archive
from freeseg.visualization.html import data_address, viewer_data

_OPS = "freeseg.ops"  # whose warnings the server's owner reads in the log
_MAX_NAME = 200  # letters of a file's name
_LOOK = 0.2  # seconds between two looks whether a visitor who waits is still there


class BusyError(RuntimeError):
    """Too many requests are waiting."""


class GoneError(RuntimeError):
    """The visitor left before the photo's turn came."""


def never() -> bool:
    """Whether a visitor has left who cannot leave."""
    return False


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Attributes:
        upload_bytes: Of the photo's file.
        pixels: Of the photo.
        waiting: Requests that wait while one is worked on.
        text: Characters of a class list.
        words: Names and synonyms of a class list; time grows with them.
        kept_bytes: Of photos and their features that are kept for further questions; the least
            recent go first.
    """

    upload_bytes: int = 20 << 20
    pixels: int = 20_000_000
    waiting: int = 8
    text: int = 4000
    words: int = 200
    kept_bytes: int = 1 << 30


class Desk:
    """Segments photos for visitors with one of some models."""

    def __init__(self, models: Mapping[str, Segmenter], limits: Limits) -> None:
        """Takes models by the names that visitors see, the first is the default."""
        if not models:
            raise ValueError("wanted at least one model")
        self.models = dict(models)
        self.limits = limits
        self._sessions = SessionStore(limits.kept_bytes)
        self._turn = threading.Lock()
        self._places = threading.Semaphore(limits.waiting + 1)

    def about(self) -> dict[str, Any]:
        """What the page has to know, as JSON can hold it."""
        return {
            "models": [
                {
                    "name": name,
                    "takes_text": one.takes_text,
                    "knows": one.knows,
                    "tasks": [*one.tasks, *(["all"] if len(one.tasks) > 1 else [])],
                    "classes": list(one.vocabulary.names),
                }
                for name, one in self.models.items()
            ],
            "limits": {
                "upload_bytes": self.limits.upload_bytes,
                "pixels": self.limits.pixels,
                "text": self.limits.text,
                "words": self.limits.words,
            },
        }

    def segment(
        self,
        content: bytes,
        model: str,
        task: str,
        text: str,
        min_score: float,
        has_left: Callable[[], bool] = never,
        file_name: str = "",
    ) -> dict[str, Any]:
        """Returns what the page shows of a photo.

        Args:
            content: An image file's.
            model: Name of one of the models; the first when empty.
            task: One of the tasks or "all"; the model's first one when empty.
            text: A class list; the model's own classes when blank.
            min_score: Segments of a lower score are not shown; from 0 to 1.
            has_left: Whether the visitor is gone; asked until the photo's turn comes.
            file_name: What the visitor calls the photo.

        Raises:
            ImageError: It is no photo that can be used.
            ValueError: On anything else that was asked for wrongly.
            BusyError: Too many are waiting.
            GoneError: The visitor left while the photo waited.
        """
        segmenter = self.models.get(model or next(iter(self.models)))
        if segmenter is None:
            raise ValueError(f"there is no model {model!r}")
        if not 0 <= min_score <= 1:  # nor NaN
            raise ValueError(f"wanted a least score from 0 to 1, got {min_score}")
        names = self._names(text) if text.strip() else None
        choose_tasks(task or None, segmenter.tasks)  # refuses what the model does not have
        upload = _Upload(content, _plain_name(file_name) or "the photo")
        with warnings_of_this_thread() as warnings:
            read = segmenter.read(upload, max_pixels=self.limits.pixels)
            key = (id(segmenter), hashlib.blake2b(content, digest_size=16).digest())
            with self._place(), self._turn_of(has_left):
                session = self._sessions.get(key, lambda: segmenter.open(read))
                try:
                    result = session(task or None, names)
                finally:
                    self._sessions.trim()
        result = replace(result, file_name=_plain_name(file_name) or None)
        return {
            **_shown(viewer_data(result, min_score), min_score),
            "image": data_address(result.image),
            "coco": result.to_coco(),
            "archive": coco_archive(result, Path(result.file_name or "image").stem),
            "warnings": warnings,
        }

    def _names(self, text: str) -> list[str]:
        """The classes of a list that is short enough; it is never the name of a file."""
        if len(text) > self.limits.text:
            raise ValueError(f"the class list has more than {self.limits.text} characters")
        names = [name.strip() for name in text.replace("\n", ",").split(",") if name.strip()]
        words = sum(len(name.split(SEPARATOR)) for name in names)
        if words > self.limits.words:
            raise ValueError(
                f"the class list has {words} names and synonyms, at most {self.limits.words} are "
                "taken at once"
            )
        return names

    @contextmanager
    def _turn_of(self, has_left: Callable[[], bool]) -> Iterator[None]:
        while not self._turn.acquire(timeout=_LOOK):
            _check_presence(has_left)
        try:
            _check_presence(has_left)
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError("many photos are waiting, try again in a moment")
        try:
            yield
        finally:
            self._places.release()


@contextmanager
def warnings_of_this_thread() -> Iterator[list[str]]:
    """A list to which every warning that this package logs in this thread is added, once.

    Without those of `freeseg.ops`, which are about the installation and not about a photo.
    """
    collected = _Collected()
    logger = logging.getLogger("freeseg")
    logger.addHandler(collected)
    try:
        yield collected.lines
    finally:
        logger.removeHandler(collected)


class _Upload(io.BytesIO):
    """A photo that messages call by its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


class _Collected(logging.Handler):
    """Keeps the warnings of the thread that made it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        is_own = threading.get_ident() == self._thread and not record.name.startswith(_OPS)
        if is_own and line not in self.lines:
            self.lines.append(line)


def _shown(data: dict[str, Any], min_score: float) -> dict[str, Any]:
    """Without the segments of a lower score; labels of single pixels have none."""
    views = {
        task: [one for one in segments if one["score"] is None or one["score"] >= min_score]
        for task, segments in data["views"].items()
    }
    return {**data, "views": views}


def _plain_name(file_name: str) -> str:
    """The last part of a path, without what no file name has."""
    name = file_name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in name if letter.isprintable())[:_MAX_NAME].strip(". ")


def _check_presence(has_left: Callable[[], bool]) -> None:
    if has_left():
        raise GoneError("the visitor left while the photo waited")
