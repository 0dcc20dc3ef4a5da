"""Segmentations of photos as pictures, files and plain arrays."""

from freeseg.visualization.export import FORMATS, USUAL_FORMATS, choose_formats
from freeseg.visualization.palette import class_colors
from freeseg.visualization.photo_result import (
    TASKS,
    Instances,
    NamedSegment,
    PanopticSegments,
)
from freeseg.visualization.segmentation import Segmentation

__all__ = [
    "FORMATS",
    "TASKS",
    "USUAL_FORMATS",
    "Instances",
    "NamedSegment",
    "PanopticSegments",
    "Segmentation",
    "choose_formats",
    "class_colors",
]
