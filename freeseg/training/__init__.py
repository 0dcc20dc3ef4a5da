"""Matching and losses."""

from freeseg.training.criterion import SetCriterion
from freeseg.training.matcher import HungarianMatcher

__all__ = ["HungarianMatcher", "SetCriterion"]
