from __future__ import annotations

import pytest

from detectron2.data import DatasetCatalog, MetadataCatalog
from freeseg.data.check import CheckSettings, check_dataset
from freeseg.data.problems import Problems


@pytest.fixture(autouse=True)
def own_memory(tmp_path, monkeypatch):
    """What is found out about files is remembered under the test's folder."""
    monkeypatch.setenv("FREESEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "checked"


@pytest.fixture
def problems():
    return Problems()


@pytest.fixture
def checked(request):
    """Checks records of an own loader; gives errors, warnings and the summary."""
    name = f"checked_{request.node.name}"

    def run(records, settings=None, **metadata):
        for catalog in (DatasetCatalog, MetadataCatalog):
            if name in catalog.list():
                catalog.remove(name)
        DatasetCatalog.register(name, lambda: records)
        MetadataCatalog.get(name).set(**metadata)
        run.name = name
        found = Problems()
        run.summary = check_dataset(name, settings or CheckSettings(), found)
        return found.errors, found.warnings

    yield run
    for catalog in (DatasetCatalog, MetadataCatalog):
        if name in catalog.list():
            catalog.remove(name)
