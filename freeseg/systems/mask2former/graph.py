"""The program of Mask2Former."""

from __future__ import annotations

from freeseg.graphs import ExportedGraph, MaskGraph, refuse_classes
from freeseg.structures import Vocabulary
from freeseg.systems.mask2former.system import Mask2Former


def build_graph(model: Mask2Former, task: str, vocabulary: Vocabulary | None) -> ExportedGraph:
    """Classes of queries and their masks; every task is read from them."""
    refuse_classes(model, vocabulary)
    return MaskGraph(model)
