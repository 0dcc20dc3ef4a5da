"""Objects through a video: earlier frames are examples of the next one."""

from freeseg.tracking.frames import FrameSource, TimedFrame, read_frames
from freeseg.tracking.tracker import (
    MEMORY,
    MIN_SCORE,
    FrameMasks,
    TrackedObjects,
    Tracker,
    by_frame,
)
from freeseg.tracking.view import SystemView, follows_examples, track_clip

__all__ = [
    "MEMORY",
    "MIN_SCORE",
    "FrameMasks",
    "FrameSource",
    "SystemView",
    "TimedFrame",
    "TrackedObjects",
    "Tracker",
    "by_frame",
    "follows_examples",
    "read_frames",
    "track_clip",
]
