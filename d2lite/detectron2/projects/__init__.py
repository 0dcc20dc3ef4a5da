"""The parts of Detectron2's bundled projects that extensions build upon."""
