"""Objects through a video: earlier frames are examples of the next one."""

from freeseg.tracking.frames import TimedFrame, read_frames
from freeseg.tracking.tracker import FrameMasks, TrackedObjects, Tracker, by_frame
from freeseg.tracking.view import SystemView, follows_examples, track_clip

__all__ = [
    "FrameMasks",
    "SystemView",
    "TimedFrame",
    "TrackedObjects",
    "Tracker",
    "by_frame",
    "follows_examples",
    "read_frames",
    "track_clip",
]
