"""Segments folders, lists and tar shards of any size, and can be killed at any time."""

from freeseg.bulk.job import BulkJob, BulkSettings
from freeseg.bulk.report import BulkReport

__all__ = ["BulkJob", "BulkReport", "BulkSettings"]
