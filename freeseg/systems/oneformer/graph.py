"""The program of OneFormer under one task.

Shapes: C channels.
"""

from __future__ import annotations

from torch import Tensor

from freeseg.graphs import ExportedGraph, MaskGraph, refuse_classes
from freeseg.structures import MaskPrediction, PyramidFeatures, Vocabulary
from freeseg.systems.oneformer.system import OneFormer


class TaskGraph(MaskGraph):
    """Classes of queries and their masks under one task, whose token is part of the program."""

    task_token: Tensor

    def __init__(self, model: OneFormer, task: str) -> None:
        super().__init__(model)
        token = model.embed_tasks([task or "panoptic"]).detach()  # [1, C]
        self.register_buffer("task_token", token)

    def decode(self, features: PyramidFeatures) -> MaskPrediction:
        tokens = self.task_token.expand(features.batch_size, -1)
        return self.model.sem_seg_head.final(features, tokens)


def build_graph(model: OneFormer, task: str, vocabulary: Vocabulary | None) -> ExportedGraph:
    """Classes of queries and their masks under a task; "panoptic" where it is ""."""
    refuse_classes(model, vocabulary)
    return TaskGraph(model, task)
