"""Drawing on video frames, which only the real Detectron2 provides."""

from detectron2._missing import missing

VideoVisualizer = missing("detectron2.utils.video_visualizer.VideoVisualizer")
