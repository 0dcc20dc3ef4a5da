"""Matching and losses."""

from freeseg.training.contrastive import ContrastiveSetCriterion
from freeseg.training.criterion import SetCriterion
from freeseg.training.matcher import HungarianMatcher

__all__ = ["ContrastiveSetCriterion", "HungarianMatcher", "SetCriterion"]
