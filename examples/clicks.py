#!/usr/bin/env python3
"""Pictures of what clicks find in photos.

examples/clicks.py PHOTO X,Y [X,Y ...] [X,Y,off ...] --output DIR

writes DIR/readings.jpg, the three masks of the first click; DIR/dialogue.jpg, the answer after
every click, on the object or off it; and DIR/everything.jpg, all that it finds by itself.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from freeseg import Segmenter
from freeseg.visualization import Segmentation


def read_click(text: str) -> tuple[float, float, int]:
    """(x, y, sign) of "120,80" or "120,80,off"."""
    x, y, *off = text.split(",")
    if off not in ([], ["off"]):
        raise ValueError(f"wanted X,Y or X,Y,off, got {text}")
    return float(x), float(y), 0 if off else 1


def reading(answer: Segmentation, choice: int) -> Segmentation:
    """The answer with one of the readings of what was pointed at."""
    objects = answer.objects
    rows = objects.choices == choice
    values = {name: value[rows] for name, value in vars(objects).items() if is_row(value, objects)}
    names = tuple(name for name, kept in zip(objects.names, rows) if kept)
    return replace(answer, objects=replace(objects, **{**values, "names": names}))


def is_row(value: object, objects: object) -> bool:
    """Whether a field has a row for every mask."""
    return isinstance(value, np.ndarray) and len(value) == len(objects.scores)


def beside(pictures: list[np.ndarray]) -> Image.Image:
    """Pictures of one size in a row, with a white line between them."""
    line = np.full((len(pictures[0]), 6, 3), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (line, picture)][1:]
    return Image.fromarray(np.concatenate(parts, axis=1))


def main() -> None:
    """Reads the arguments, asks and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo")
    parser.add_argument("clicks", nargs="+", type=read_click, metavar="X,Y[,off]")
    parser.add_argument("--output", type=Path, default=Path("output/clicks"))
    parser.add_argument("--model", default="click", help="a name, or a folder of a training")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    segmenter = Segmenter.from_pretrained(arguments.model)
    with segmenter.open(arguments.photo) as session:
        (x, y, sign), *later = arguments.clicks
        answer = session(points=[[(x, y)]], signs=[[sign]])
        masks = [reading(answer, choice).picture(min_score=0.0) for choice in range(3)]
        beside(masks).save(arguments.output / "readings.jpg", quality=88)
        rounds = [answer]
        for x, y, sign in later:
            answer = session.refine(answer, points=[[(x, y)]], signs=[[sign]])
            rounds.append(answer)
        pictures = [reading(one, 0).picture(min_score=0.0) for one in rounds]
        beside(pictures).save(arguments.output / "dialogue.jpg", quality=88)
        found = session.everything()
        Image.fromarray(found.picture(min_score=0.0)).save(
            arguments.output / "everything.jpg", quality=88
        )
    sys.stdout.write(f"{len(found.masks)} masks of everything; see {arguments.output}\n")


if __name__ == "__main__":
    main()
