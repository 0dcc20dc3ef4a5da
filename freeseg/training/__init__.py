"""Matching and losses."""

from freeseg.training.contrastive import ContrastiveSetCriterion
from freeseg.training.criterion import SetCriterion
from freeseg.training.dense import DenseCriterion, DenseMatcher
from freeseg.training.matcher import HungarianMatcher
from freeseg.training.pixels import VOID, PixelCriterion, withhold
from freeseg.training.shares import accumulated

__all__ = [
    "VOID",
    "ContrastiveSetCriterion",
    "DenseCriterion",
    "DenseMatcher",
    "HungarianMatcher",
    "PixelCriterion",
    "SetCriterion",
    "accumulated",
    "withhold",
]
