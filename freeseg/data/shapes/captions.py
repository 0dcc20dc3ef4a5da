"""Captions of Shapes in which a word is a word: "red" means all that is red, "star" every star."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from freeseg.data.shapes.vocabulary import COLORS, SHAPES, UNSEEN

MOST = 10  # phrases of a caption

Spans = tuple[tuple[int, int], ...]


def draw_caption(names: Sequence[str], generator: np.random.Generator) -> tuple[str, list[Spans]]:
    """Phrases in a row, some of what is there, and for every object the characters that mean it.

    A phrase is a colour, a shape or both; the unseen pairs are never named. Objects that no phrase
    means have no spans.

    Args:
        names: Of the objects, "red star".
        generator: Of the draws.
    """
    colors, shapes = zip(*(name.split() for name in names)) if names else ((), ())
    present = [*dict.fromkeys((*colors, *shapes, *names))]
    pairs = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
    known = [*COLORS, *SHAPES, *(pair for pair in pairs if pair not in UNSEEN)]
    absent = [phrase for phrase in known if phrase not in present]
    said = [phrase for phrase in present if phrase not in UNSEEN]
    count = int(generator.integers(1, MOST + 1))
    chosen = [*_some(said, (count + 1) // 2, generator), *_some(absent, count // 2, generator)]
    caption, places = "", {}
    for phrase in _some(chosen, len(chosen), generator):
        places[phrase] = (len(caption), len(caption) + len(phrase))
        caption += f"{phrase}. "
    spans = [
        tuple(places[phrase] for phrase in (*name.split(), name) if phrase in places)
        for name in names
    ]
    return caption.strip(), spans


def _some(phrases: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    """Some of them, in any order."""
    return [phrases[place] for place in generator.permutation(len(phrases))[:count]]
