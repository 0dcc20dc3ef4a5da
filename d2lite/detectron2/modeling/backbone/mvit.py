"""Multiscale vision transformers: names only; the real package has them."""

from __future__ import annotations

from detectron2._missing import missing

MViT = missing("detectron2.modeling.backbone.mvit.MViT")
