"""What exists in Shapes: 8 colours x 6 shapes are the things, 5 textures the stuff."""

from __future__ import annotations

from freeseg.data.categories import Category

# strong colours, so that they differ from the muted textures of the ground
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 32, 38),
    "orange": (247, 134, 20),
    "yellow": (250, 222, 40),
    "green": (20, 165, 70),
    "blue": (38, 72, 214),
    "purple": (128, 40, 176),
    "pink": (250, 120, 186),
    "white": (246, 246, 246),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")

# legend colours of the stuff, near to how it looks
STUFF: dict[str, tuple[int, int, int]] = {
    "grass": (96, 128, 56),
    "sky": (150, 190, 228),
    "water": (52, 110, 140),
    "sand": (208, 186, 140),
    "brick": (150, 90, 74),
}

# never shown in the split "seen_train": every colour and every shape is seen, these pairs are not
UNSEEN = (
    "red star",
    "orange heart",
    "yellow circle",
    "green cross",
    "blue triangle",
    "purple square",
    "pink circle",
    "white star",
    "sand",
)


def thing_name(color: str, shape: str) -> str:
    """Class name of an object, such as "red star"."""
    return f"{color} {shape}"


def categories() -> tuple[Category, ...]:
    """All 53 classes, things first, ids from 1."""
    things = [
        (thing_name(color, shape), True, _shade(value, index))
        for color, value in COLORS.items()
        for index, shape in enumerate(SHAPES)
    ]
    stuff = [(name, False, value) for name, value in STUFF.items()]
    return tuple(
        Category(number, name, is_thing, color)
        for number, (name, is_thing, color) in enumerate([*things, *stuff], start=1)
    )


def _shade(color: tuple[int, int, int], index: int) -> tuple[int, int, int]:
    """The colour a little darker for each shape, so that legends tell classes apart."""
    red, green, blue = (round(channel * (1.0 - 0.07 * index)) for channel in color)
    return red, green, blue
