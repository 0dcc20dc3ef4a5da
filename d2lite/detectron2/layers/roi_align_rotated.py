"""Pooling of rotated regions: compiled code, only in the real package."""

from __future__ import annotations

from detectron2._missing import missing

ROIAlignRotated = missing("detectron2.layers.ROIAlignRotated")
roi_align_rotated = missing("detectron2.layers.roi_align_rotated.roi_align_rotated")
