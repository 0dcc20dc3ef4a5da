"""A model labels photos: a COCO data set with its provenance, and pages to review it."""

from freeseg.labelling.dataset import Dataset, left_out_names
from freeseg.labelling.job import LabelJob, Labelled
from freeseg.labelling.records import LabelRecords

__all__ = ["Dataset", "LabelJob", "LabelRecords", "Labelled", "left_out_names"]
