"""Trained models as programs of standard operators: ``torch.export`` and ONNX."""

from freeseg.export.job import export_model
from freeseg.export.programs import DynamicSize, export_program, largest_difference, write_onnx
from freeseg.graphs import ExportedGraph, build_graph, register_graph

__all__ = [
    "DynamicSize",
    "ExportedGraph",
    "build_graph",
    "export_model",
    "export_program",
    "largest_difference",
    "register_graph",
    "write_onnx",
]
