#!/usr/bin/env python3
"""Prepares Mapillary Vistas 1.2: panoptic annotation, where the download has none.

Reads and writes $DETECTRON2_DATASETS/mapillary_vistas unless --source and --output say otherwise;
safe to rerun. datasets/README.md says what must be there.
"""

from __future__ import annotations

import sys

from freeseg.data.datasets.roots import datasets_root
from freeseg.data.prepare.job import run
from freeseg.data.prepare.mapillary import prepare_panoptic

if __name__ == "__main__":
    sys.exit(run({"panoptic": prepare_panoptic}, __doc__, datasets_root() / "mapillary_vistas"))
