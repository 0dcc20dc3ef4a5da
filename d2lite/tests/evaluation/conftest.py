"""Fixtures of the evaluation tests."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog

_counter = itertools.count()


@pytest.fixture
def register():
    """Register datasets under fresh names: register(records=None, **metadata) -> name."""
    names = []

    def _register(records=None, **metadata):
        name = f"d2lite_test_{os.getpid()}_{next(_counter)}"
        if records is not None:
            DatasetCatalog.register(name, lambda: records)
        MetadataCatalog.get(name).set(**metadata)
        names.append(name)
        return name

    yield _register
    for name in names:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def shared_data():
    """Folder of real sample data, which is not part of the repository."""
    repository = Path(__file__).resolve().parents[3]
    folder = Path(os.environ.get("FREESEG_SHARED", repository / "../shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"sample data not found at {folder}")
    return folder
