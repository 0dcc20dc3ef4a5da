"""Benchmarks as data: their classes, and which of them every fold is tested on."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Benchmark:
    """What a JSON file beside this one says.

    Attributes:
        name: Of the file.
        classes: All classes; the number of a class is its place.
        release_texts: What LSeg's release calls the classes, for its published weights.
        folds: Numbers of the classes that a fold is tested on, by its name.
        layout: How files are laid out: "voc", "coco" or "fss", see `layouts`.
        is_drawn: Episodes draw their class and image; False: they walk through a list.
        num_episodes: Of a fold; 0: as many as the list has.
    """

    name: str
    classes: tuple[str, ...]
    release_texts: tuple[str, ...]
    folds: Mapping[str, tuple[int, ...]]
    layout: str
    is_drawn: bool
    num_episodes: int

    def fold(self, name: str) -> tuple[int, ...]:
        """Numbers of a fold's classes."""
        if name not in self.folds:
            raise ValueError(
                f"{self.name} has no fold {name!r}; it has {', '.join(map(str, self.folds))}"
            )
        return self.folds[name]

    def text(self, class_id: int) -> str:
        """A class as a person would say it."""
        return self.classes[class_id].replace("_", " ")


FOLDER = "folder"  # a benchmark of one's own: a folder of photos and masks for every class


def folder_benchmark(root: Path) -> Benchmark:
    """A folder ROOT/CLASS/{NAME.jpg, NAME.png}, FSS-1000's layout, with one fold, "all".

    Every photo is a query. Masks are 0, 1 and, where nobody knows, 255; or black and white.

    Raises:
        FileNotFoundError: There is no class in it.
    """
    classes = sorted(
        path.name for path in root.glob("*") if path.is_dir() and any(path.glob("*.png"))
    )
    if not classes:
        raise FileNotFoundError(f"no folder of a class with masks in {root}")
    names, numbers = tuple(classes), tuple(range(len(classes)))
    return Benchmark(FOLDER, names, names, {"all": numbers}, FOLDER, False, 0)


@functools.cache
def load_benchmark(name: str) -> Benchmark:
    """A benchmark by its name: pascal_5i, coco_20i or fss_1000.

    Raises:
        ValueError: On an unknown name.
    """
    path = Path(__file__).with_name(f"{name}.json")
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.json"))
        raise ValueError(f"no benchmark {name!r}; known ones are {', '.join(known)}")
    content = json.loads(path.read_text(encoding="utf-8"))
    classes = tuple(content["classes"])
    number = {each: index for index, each in enumerate(classes)}
    return Benchmark(
        name,
        classes,
        tuple(content.get("release_texts", classes)),
        {key: tuple(number[each] for each in fold) for key, fold in content["folds"].items()},
        content["layout"],
        content["order"] == "drawn",
        content["episodes"],
    )
