"""Changes photos where words say: takes things out of them, or paints something else there."""

from freeseg.editing.masks import grown
from freeseg.editing.painter import check_painter, load_painter
from freeseg.editing.removal import remove
from freeseg.editing.replacement import PaintingError, replace
from freeseg.editing.words import Found, Question, find, read_question

__all__ = [
    "Found",
    "PaintingError",
    "Question",
    "check_painter",
    "find",
    "grown",
    "load_painter",
    "read_question",
    "remove",
    "replace",
]
