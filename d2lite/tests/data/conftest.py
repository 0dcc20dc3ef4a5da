"""Fixtures for the data tests: catalogs that forget, and real data where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog


@pytest.fixture
def catalogs(monkeypatch):
    """The two catalogs, restored after the test."""
    monkeypatch.setattr(DatasetCatalog, "data", dict(DatasetCatalog.data))
    monkeypatch.setattr(MetadataCatalog, "data", dict(MetadataCatalog.data))
    return DatasetCatalog, MetadataCatalog


@pytest.fixture
def no_catalogs(monkeypatch):
    """The two catalogs, empty during the test."""
    monkeypatch.setattr(DatasetCatalog, "data", {})
    monkeypatch.setattr(MetadataCatalog, "data", {})
    return DatasetCatalog, MetadataCatalog


def _shared_data(folder):
    beside = Path(__file__).resolve().parents[3] / "../shared"
    path = Path(os.environ.get("FREESEG_SHARED", beside)) / "data" / folder
    if not path.exists():
        pytest.skip(f"the sample data {folder} is not at hand")
    return path


@pytest.fixture
def fruits():
    return _shared_data("fruits_nuts")


@pytest.fixture
def coco_sample():
    return _shared_data("coco_panoptic_sample")
