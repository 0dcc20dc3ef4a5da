"""Shapes: a procedural dataset of coloured objects on textured ground, with exact annotation."""

from __future__ import annotations

from freeseg.data.shapes.generate import ShapesSplit, ensure_split, generate_split
from freeseg.data.shapes.vocabulary import UNSEEN, categories

__all__ = ["UNSEEN", "ShapesSplit", "categories", "ensure_split", "generate_split"]
