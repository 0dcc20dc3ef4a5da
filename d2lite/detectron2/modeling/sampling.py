"""Label sampling: names only; the real package has it."""

from __future__ import annotations

from detectron2._missing import missing

subsample_labels = missing("detectron2.modeling.sampling.subsample_labels")
