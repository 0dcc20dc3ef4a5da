"""What tests of several folders share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog

sys.path.insert(0, str(Path(__file__).parent))
from skips import (  # noqa: F401 (pytest looks for hooks here)
    pytest_make_collect_report,
    pytest_runtest_makereport,
)


@pytest.fixture
def loader(request):
    """Registers a loader of somebody's own, or its records, for one test; gives the set's name."""
    names = []

    def register(given, **metadata):
        name = f"own_{len(names)}_{request.node.name}"
        names.append(name)
        DatasetCatalog.register(name, given if callable(given) else lambda: given)
        MetadataCatalog.get(name).set(**metadata)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
