"""Takes requests for segmentations: one is worked on at a time, some wait, more are sent away."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from freeseg.images import read_image
from freeseg.predictor import Segmenter
from freeseg.visualization import TASKS
from freeseg.visualization.html import data_address, viewer_data


class BusyError(RuntimeError):
    """Too many requests are waiting."""


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Attributes:
        upload_bytes: Of the photo's file.
        pixels: Of the photo.
        waiting: Requests that wait while one is worked on.
        text: Characters of a class list.
    """

    upload_bytes: int = 20 << 20
    pixels: int = 20_000_000
    waiting: int = 8
    text: int = 4000


class Desk:
    """Segments photos for visitors with one of some models."""

    def __init__(self, models: Mapping[str, Segmenter], limits: Limits) -> None:
        """Takes models by the names that visitors see, the first is the default."""
        if not models:
            raise ValueError("wanted at least one model")
        self.models = dict(models)
        self.limits = limits
        self._turn = threading.Lock()
        self._places = threading.Semaphore(limits.waiting + 1)

    def about(self) -> dict[str, Any]:
        """What the page has to know, as JSON can hold it."""
        return {
            "models": [
                {
                    "name": name,
                    "takes_text": one.takes_text,
                    "classes": list(one.vocabulary.names),
                }
                for name, one in self.models.items()
            ],
            "tasks": [*TASKS, "all"],
            "limits": {
                "upload_bytes": self.limits.upload_bytes,
                "pixels": self.limits.pixels,
                "text": self.limits.text,
            },
        }

    def segment(
        self, content: bytes, model: str, task: str, text: str, min_score: float
    ) -> dict[str, Any]:
        """Returns what the page shows of a photo.

        Args:
            content: An image file's.
            model: Name of one of the models; the first when empty.
            task: One of the tasks or "all".
            text: A class list; the model's own classes when blank.
            min_score: Instances below are left out.

        Raises:
            ImageError: It is no photo that can be used.
            ValueError: On anything else that was asked for wrongly.
            BusyError: Too many are waiting.
        """
        segmenter = self.models.get(model or next(iter(self.models)))
        if segmenter is None:
            raise ValueError(f"there is no model {model!r}")
        if len(text) > self.limits.text:
            raise ValueError(f"the class list has more than {self.limits.text} characters")
        image = read_image(content, max_pixels=self.limits.pixels)
        names = _plain_list(text) if text.strip() else None
        with self._place(), self._turn:
            result = segmenter(image, task, names)
        return {
            **viewer_data(result, min_score),
            "image": data_address(result.image),
            "coco": result.to_coco(),
        }

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError("many photos are waiting, try again in a moment")
        try:
            yield
        finally:
            self._places.release()


def _plain_list(text: str) -> list[str]:
    """What a visitor typed is never the name of a file."""
    names = (name.strip() for name in text.replace("\n", ",").split(","))
    return [name for name in names if name]
