"""Matching and losses."""

from freeseg.training.criterion import SetCriterion
from freeseg.training.matcher import HungarianMatcher
from freeseg.training.pixels import VOID, PixelCriterion
from freeseg.training.shares import accumulated

__all__ = [
    "VOID",
    "HungarianMatcher",
    "PixelCriterion",
    "SetCriterion",
    "accumulated",
]
