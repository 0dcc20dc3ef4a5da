"""Segmentations of photos as pictures, files and plain arrays."""

from freeseg.visualization.annotations import AnnotationFiles
from freeseg.visualization.export import ANNOTATIONS, FORMATS, USUAL_FORMATS, choose_formats
from freeseg.visualization.palette import class_colors
from freeseg.visualization.photo_result import (
    TASKS,
    Instances,
    NamedSegment,
    PanopticSegments,
)
from freeseg.visualization.segmentation import Segmentation

__all__ = [
    "ANNOTATIONS",
    "FORMATS",
    "TASKS",
    "USUAL_FORMATS",
    "AnnotationFiles",
    "Instances",
    "NamedSegment",
    "PanopticSegments",
    "Segmentation",
    "choose_formats",
    "class_colors",
]
