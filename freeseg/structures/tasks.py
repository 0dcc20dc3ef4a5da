"""Names that inputs, options and results share."""

# the three tasks of universal segmentation
TASKS = ("semantic", "instance", "panoptic")

# keys of a model's inputs beyond Detectron2's
DATASET_KEY = "dataset_name"  # of a training input: whose label list it is judged by
LABEL_MAP_KEY = "label_map"  # of a test input: True asks for semantic labels [H, W], not scores
CERTAINTY_KEY = "certainty"  # of a test input: True asks how sure the model is; of an output: that
