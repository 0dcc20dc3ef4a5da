"""Looks at all of a dataset before it is used: photos, PNGs, objects, classes."""

from freeseg.data.check.dataset import CheckSettings, DatasetSummary, check_dataset

__all__ = ["CheckSettings", "DatasetSummary", "check_dataset"]
