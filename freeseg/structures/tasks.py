"""The three tasks of universal segmentation, by the names that inputs and options use."""

TASKS = ("semantic", "instance", "panoptic")
