"""The part of Detectron2's API that extension projects use, in pure Python.

The real package carries the same distribution name and replaces this one when installed.
"""

from __future__ import annotations

from detectron2 import _missing  # noqa: F401  from now on, what is left out says so
from detectron2.utils.env import setup_environment

setup_environment()

__version__ = "0.6+lite"
