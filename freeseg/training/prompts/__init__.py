"""What a person would point at, made of masks: clicks, boxes and strokes for interactive systems.

Pure functions on bool masks [N, H, W], on the masks' device, for losses and evaluations alike. All
chance is in a ``torch.Generator``: one for all masks, or one for each, with which a mask has the
same result whatever stands beside it. Coordinates are those of `freeseg.structures.Marks`.
"""

from freeseg.training.prompts.boxes import noisy_box
from freeseg.training.prompts.clicks import (
    Clicks,
    deepest_error_point,
    error_point,
    sample_point,
)
from freeseg.training.prompts.draws import Generators
from freeseg.training.prompts.strokes import STROKES, scribble

__all__ = [
    "STROKES",
    "Clicks",
    "Generators",
    "deepest_error_point",
    "error_point",
    "noisy_box",
    "sample_point",
    "scribble",
]
