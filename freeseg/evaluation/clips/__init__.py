"""Evaluation of what follows objects through clips."""

from __future__ import annotations

from freeseg.evaluation.clips.evaluator import (
    LABEL_MAPS_KEY,
    ClipEvaluator,
    evaluate_folder,
    has_clips,
)
from freeseg.evaluation.clips.judging import judge_clip
from freeseg.evaluation.clips.measures import contour_accuracy, region_similarity
from freeseg.evaluation.clips.model import ClipTracking, Track, clip_model
from freeseg.evaluation.clips.results import ResultWriter

__all__ = [
    "LABEL_MAPS_KEY",
    "ClipEvaluator",
    "ClipTracking",
    "ResultWriter",
    "Track",
    "clip_model",
    "contour_accuracy",
    "evaluate_folder",
    "has_clips",
    "judge_clip",
    "region_similarity",
]
