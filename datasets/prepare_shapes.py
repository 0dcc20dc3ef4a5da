#!/usr/bin/env python3
"""Generates Shapes, which the loader would otherwise do on first use.

Writes $DETECTRON2_DATASETS/shapes (without that variable, the user's cache folder) unless --output
says otherwise; a split that exists is kept. The large "many_seen_train" is left to its first use.

The same as `freeseg prepare shapes`.
"""

from __future__ import annotations

import sys

from freeseg_command import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "shapes", *sys.argv[1:]]))
