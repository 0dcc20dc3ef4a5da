"""Fixtures of the data tests: configurations, small images, registration under a test's folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detectron2.config import get_cfg
from freeseg.config import add_freeseg_config
from freeseg.data import register_all
from freeseg.data.datasets.shapes import register_split
from freeseg.data.shapes import ShapesSplit


@pytest.fixture
def cfg():
    config = get_cfg()
    add_freeseg_config(config)
    config.SEED = 7
    config.INPUT.FORMAT = "RGB"
    config.DATALOADER.NUM_WORKERS = 0
    config.SOLVER.IMS_PER_BATCH = 4
    return config


@pytest.fixture
def root(tmp_path):
    """A folder under which all datasets are registered during the test."""
    register_all(tmp_path)
    yield tmp_path
    register_all()


@pytest.fixture(scope="session")
def tiny_shapes(tmp_path_factory):
    """Name of a registered Shapes split of eight images; its folder is in its metadata."""
    folder = tmp_path_factory.mktemp("shapes") / "tiny"
    split = ShapesSplit("tiny", num_images=8, seed=5, side=64)
    register_split("tiny_shapes", folder, split)
    return "tiny_shapes"


@pytest.fixture
def shared():
    """The folder of real sample data, which is not part of the repository."""
    default = Path(__file__).resolve().parents[2] / "../shared"
    folder = Path(os.environ.get("FREESEG_SHARED", default)) / "data"
    if not folder.is_dir():
        pytest.skip(f"no sample data: {folder} does not exist")
    return folder


@pytest.fixture
def write_image():
    """Writes an array as an image file and returns the path."""

    def write(path: Path, pixels) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)
        return path

    return write
