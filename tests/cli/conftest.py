"""What the tests of commands have in common: a photo, and a model that segments it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from fixed_model import write_config, write_weights


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    picture = np.full((20, 30, 3), 10, dtype=np.uint8)
    picture[:, :10, 0] = picture[:, 10:, 1] = 200
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Everything a command needs but its photos."""
    config, weights = write_config(tmp_path), write_weights(tmp_path)
    out = tmp_path / "out"
    return ["--config-file", str(config), "--weights", str(weights), "--out", str(out)]
