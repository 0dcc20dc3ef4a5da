"""Evaluations that make prompts of the truth: clicks, given boxes; and masks of everything."""

from freeseg.evaluation.pointing.boxes import BoxedObjects, BoxEvaluator, fill_boxes
from freeseg.evaluation.pointing.clicker import next_click, overlap
from freeseg.evaluation.pointing.clicks import ClickedObjects, ClickEvaluator, click_on
from freeseg.evaluation.pointing.counts import listed_objects
from freeseg.evaluation.pointing.model import ObjectPointing
from freeseg.evaluation.pointing.photo import EncodedPhoto, TrueObjects
from freeseg.evaluation.pointing.proposals import (
    ProposalEvaluator,
    Proposals,
    average_recall,
    propose,
)
from freeseg.evaluation.pointing.settings import PointingSettings, pointing_settings

__all__ = [
    "BoxEvaluator",
    "BoxedObjects",
    "ClickEvaluator",
    "ClickedObjects",
    "EncodedPhoto",
    "ObjectPointing",
    "PointingSettings",
    "ProposalEvaluator",
    "Proposals",
    "TrueObjects",
    "average_recall",
    "click_on",
    "fill_boxes",
    "listed_objects",
    "next_click",
    "overlap",
    "pointing_settings",
    "propose",
]
