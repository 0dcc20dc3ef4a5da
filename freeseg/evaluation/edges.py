"""Judges the edges of systems that look for everything, on sets in which people drew boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from freeseg.catalog import dataset_metadata
from freeseg.data.datasets.edges import BOUNDARIES_KEY, EDGES, read_boundaries
from freeseg.evaluation.edge_counts import Counts, count_edges, edge_scores, thresholds_of
from freeseg.inference.edges import edges_in
from freeseg.structures import EverythingSettings, Prompt, Request, Task, read_frame
from freeseg.systems import SegmentationSystem

EDGES_KEY = "edges"  # of an output: strengths [H, W]


def has_edges(dataset_name: str) -> bool:
    """Whether a dataset has boundaries, and nothing else to judge by."""
    return bool(dataset_metadata(dataset_name).get("evaluator_type") == EDGES)


class EdgeEvaluator(DatasetEvaluator):
    """Counts edges and drawn boundaries that are partners, photo by photo; see `count_edges`."""

    def __init__(self, num_thresholds: int) -> None:
        """Takes how many strengths edges are cut at."""
        self.thresholds = thresholds_of(num_thresholds)
        self.reset()

    def reset(self) -> None:
        self._counts: list[Counts] = []

    def process(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Counts photos.

        Args:
            inputs: Records with boundaries.
            outputs: Each has ``edges``, strengths [H, W] in [0, 1], one pixel wide.
        """
        for record, output in zip(inputs, outputs):
            boundaries = read_boundaries(record)
            try:
                self._counts.append(count_edges(output[EDGES_KEY], boundaries, self.thresholds))
            except ValueError as error:
                raise ValueError(f"{record[BOUNDARIES_KEY]}: {error}") from error

    def evaluate(self) -> dict[str, dict[str, float]] | None:
        """{"edges": percentages}."""
        counts = [one for part in comm.gather(self._counts) for one in part]
        if not comm.is_main_process():
            return None
        return {EDGES: {name: 100 * value for name, value in edge_scores(counts).items()}}


class EdgeModel(nn.Module):
    """Finds edges in photos with drawn boundaries; what else there is goes to another model."""

    def __init__(
        self,
        system: SegmentationSystem[Any],
        settings: EverythingSettings,
        otherwise: nn.Module,
    ) -> None:
        """Wraps a system.

        Args:
            system: That takes `everything`.
            settings: Where it is pointed at, and `max_overlap`.
            otherwise: For other photos.

        Raises:
            ValueError: The system does not take `everything`.
        """
        super().__init__()
        system.check([Request(0, (Task.OBJECT,), Prompt(everything=settings))])
        self.system = system
        self.settings = settings
        self.otherwise = otherwise

    def forward(self, batched_inputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """One result dict per image."""
        return [
            self._edges(x) if BOUNDARIES_KEY in x else self.otherwise([x])[0]
            for x in batched_inputs
        ]

    def _edges(self, x: dict[str, Any]) -> dict[str, Any]:
        features = self.system.encode(self.system.prepare([x["image"]], [read_frame(x)]))
        return {EDGES_KEY: edges_in(self.system.pointed(features, 0), self.settings)}


def edge_model(cfg: CfgNode, model: nn.Module, otherwise: nn.Module) -> nn.Module:
    """What is evaluated where a set of DATASETS.TEST has boundaries; else `otherwise` itself.

    Args:
        cfg: A configuration with TEST.EDGES.
        model: As it was trained, in whatever distributes it.
        otherwise: For sets without boundaries.

    Raises:
        ValueError: The model does not look for everything.
    """
    if not any(has_edges(name) for name in cfg.DATASETS.TEST):
        return otherwise
    system = getattr(model, "module", model)
    if not isinstance(system, SegmentationSystem):
        raise ValueError(f"{type(system).__name__} is no system that looks for edges")
    node = cfg.TEST.EDGES
    settings = EverythingSettings(points_per_side=node.POINTS, max_overlap=node.MAX_OVERLAP)
    return EdgeModel(system, settings, otherwise).eval()
