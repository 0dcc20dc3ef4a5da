#!/usr/bin/env python3
"""Prepares Mapillary Vistas 1.2: panoptic annotation, where the download has none.

Reads and writes $DETECTRON2_DATASETS/mapillary_vistas unless --source and --output say otherwise;
safe to rerun. docs/datasets.md says what must be there.

The same as `freeseg prepare mapillary`.
"""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "mapillary", *sys.argv[1:]]))
