"""Matching and losses."""

from freeseg.training.criterion import SetCriterion
from freeseg.training.dense import DenseCriterion, DenseMatcher
from freeseg.training.matcher import HungarianMatcher

__all__ = ["DenseCriterion", "DenseMatcher", "HungarianMatcher", "SetCriterion"]
