"""Dense detectors: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

DenseDetector = missing("detectron2.modeling.meta_arch.dense_detector.DenseDetector")
