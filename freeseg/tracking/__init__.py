"""Objects through a video: a session over time."""

from freeseg.tracking.frames import TimedFrame, read_frames
from freeseg.tracking.results import TrackWriter
from freeseg.tracking.tracker import TrackedFrame, Tracker

__all__ = ["TimedFrame", "TrackWriter", "TrackedFrame", "Tracker", "read_frames"]
