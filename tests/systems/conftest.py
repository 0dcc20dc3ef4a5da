"""Small models of registered systems, of which tests of laws ask for one by its name."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tiny_systems import tiny


@functools.lru_cache
def _built(name: str):
    line = tiny(name)
    return line.build(line.seed)


@pytest.fixture
def model_of():
    """The model of a system, built once; whoever changes it has to build another."""
    return _built
