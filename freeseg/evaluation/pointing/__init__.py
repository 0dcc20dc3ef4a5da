"""Evaluations that make prompts of the truth: clicks on objects."""

from freeseg.evaluation.pointing.clicker import next_click, overlap
from freeseg.evaluation.pointing.clicks import ClickedObjects, ClickEvaluator, click_on
from freeseg.evaluation.pointing.model import ObjectPointing, PointingSettings
from freeseg.evaluation.pointing.photo import EncodedPhoto, TrueObjects

__all__ = [
    "ClickEvaluator",
    "ClickedObjects",
    "EncodedPhoto",
    "ObjectPointing",
    "PointingSettings",
    "TrueObjects",
    "click_on",
    "next_click",
    "overlap",
]
