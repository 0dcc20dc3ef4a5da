"""How people might write about Shapes: what the toy CLIP's text tower learns to read."""

from __future__ import annotations

import re

import numpy as np

from freeseg.data.shapes.vocabulary import COLORS, SHAPES, STUFF

MAX_FILLERS = 28  # random words before a name: learned prompts stand there later

# other words for parts of class names; a text has one with the chance below
SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("disc", "disk", "circles"),
    "square": ("box", "squares"),
    "triangle": ("triangles",),
    "star": ("stars",),
    "heart": ("hearts",),
    "cross": ("plus", "crosses"),
    "red": ("crimson",),
    "purple": ("violet",),
    "pink": ("rose",),
    "grass": ("lawn", "meadow"),
    "sky": ("clouds",),
    "water": ("sea", "lake"),
    "sand": ("beach", "desert"),
    "brick": ("bricks", "wall"),
}
SYNONYM_CHANCE = 0.25
UNKNOWN_CHANCE = 0.1  # of a random word to be one that the tower does not know

TEMPLATES = (
    "{}",
    "{}.",
    "a {}.",
    "the {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of one {} in a scene.",
    "there is a {} in the image.",
    "this is a {}.",
    "semantic segmentation. {}.",
    "instance segmentation. {}.",
    "panoptic segmentation. {}.",
)
_FILLERS = """
a an and another at background big bright by colored dark front ground image in instance large near
object of on one panoptic part photo picture plain scene segmentation semantic shape small some that
textured the there thing this view with
"""
FILLERS = tuple(_FILLERS.split())
_CAPTION_WORDS = ("front", "is", "view", "2", "3", "4", "5", "6", ",", ".", ":")


def words() -> tuple[str, ...]:
    """Every word of the texts about Shapes, in a fixed order."""
    names = (*COLORS, *SHAPES, *STUFF)
    others = [word for group in SYNONYMS.values() for word in group]
    templates = [word for template in TEMPLATES for word in re.findall(r"[a-z]+", template)]
    return tuple(dict.fromkeys([*names, *others, *FILLERS, *templates, *_CAPTION_WORDS]))


def random_phrase(generator: np.random.Generator, name: str) -> str:
    """A class name in other words, in a sentence, or behind words without meaning."""
    said = " ".join(_word(generator, word) for word in name.split())
    if generator.random() < 0.5:
        template = TEMPLATES[int(generator.integers(len(TEMPLATES)))]
        return template.replace("{}", said)
    count = int(generator.integers(1, MAX_FILLERS + 1))
    noise = [
        "?" if generator.random() < UNKNOWN_CHANCE else word
        for word in generator.choice(FILLERS, count).tolist()
    ]
    return " ".join([*noise, f"{said}."])


def _word(generator: np.random.Generator, word: str) -> str:
    others = SYNONYMS.get(word, ())
    if others and generator.random() < SYNONYM_CHANCE:
        return others[int(generator.integers(len(others)))]
    return word
