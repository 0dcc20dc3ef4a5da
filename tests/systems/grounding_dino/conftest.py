"""What the original computed on a tiny model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from freeseg.parity import Golden

SHARED = Path(os.environ.get("FREESEG_SHARED", Path(__file__).resolve().parents[3] / "../shared"))


@pytest.fixture(scope="session")
def golden():
    folder = SHARED / "golden" / "grounding_dino_tiny"
    if not folder.is_dir():
        pytest.skip(f"no stored outputs of the original at {folder}")
    return Golden.read(folder, "grounding_dino")
