"""Segmentations of photos as pictures, files and plain arrays."""

from freeseg.visualization.annotations import AnnotationFiles
from freeseg.visualization.palette import class_colors
from freeseg.visualization.photo_result import (
    Instances,
    NamedSegment,
    PanopticSegments,
)
from freeseg.visualization.segmentation import Answer, Segmentation
from freeseg_command.names import ANNOTATIONS, FORMATS, USUAL_FORMATS, choose_formats

__all__ = [
    "ANNOTATIONS",
    "FORMATS",
    "USUAL_FORMATS",
    "AnnotationFiles",
    "Answer",
    "Instances",
    "NamedSegment",
    "PanopticSegments",
    "Segmentation",
    "choose_formats",
    "class_colors",
]
