"""FCOS: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

FCOS = missing("detectron2.modeling.meta_arch.fcos.FCOS")
