"""The fixed model for jobs in any process, and photos of which some are broken."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from freeseg.bulk import processes
from freeseg.bulk.worker import ModelSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from fixed_model import write_config, write_weights

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The fixed model, which other processes know too: they import what registers its classes."""
    (tmp_path / "fixed_plugin.py").write_text(
        "import fixed_model, pathlib, tempfile\n"
        "fixed_model.write_config(pathlib.Path(tempfile.mkdtemp()))\n"
    )
    paths = [str(TESTS), str(tmp_path), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("fixed_plugin", None)
    return ModelSettings(
        config=str(write_config(tmp_path)),
        weights=str(write_weights(tmp_path)),
        task="all",
        modules=("fixed_plugin",),
    )


def encoded(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.kron(pixels, np.ones((5, 5, 1), np.uint8))).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path):
    """Seven photos in two folders, two of them broken."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for index in range(5):
        (folder / f"{index}.png").write_bytes(encoded(index))
    (folder / "more" / "cut.png").write_bytes(encoded(9)[:60])
    (folder / "more" / "empty.jpg").write_bytes(b"")
    (folder / "notes.md").write_text("no photo")
    return folder


@pytest.fixture
def forking(monkeypatch):
    """Workers begin as copies of this process, with what a test has changed in it."""
    monkeypatch.setattr(processes, "START_METHOD", "fork")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a copy of a process with a pool of threads waits for them for ever
    yield
    torch.set_num_threads(threads)
