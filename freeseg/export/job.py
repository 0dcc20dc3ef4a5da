"""Exports a trained model from its configuration and weights, and checks what was written."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from freeseg.export.programs import (
    FIXED,
    DynamicSize,
    export_program,
    largest_difference,
    write_onnx,
)
from freeseg.files import write_atomically
from freeseg.graphs import build_graph
from freeseg.segmenter import Segmenter

TOLERANCE = 1e-3  # largest difference from the model that is let pass


def export_model(
    segmenter: Segmenter,
    output: str | os.PathLike[str],
    *,
    size: tuple[int, int] = (512, 512),
    batch_size: int = 1,
    dynamic: DynamicSize = FIXED,
    task: str = "",
    classes: str | None = None,
) -> dict[str, float]:
    """Writes a .onnx file or a .pt2 program, and returns how far each output is from the model's.

    Args:
        segmenter: Has the model, on the CPU.
        output: A path that ends with .onnx or .pt2.
        size: (height, width) of the example, multiples of the model's divisibility.
        batch_size: Of the example; 2 at least where the batch is dynamic.
        dynamic: What may vary later.
        task: Of models that are told one.
        classes: Of models that take class lists, as `Segmenter.read_classes` takes them.

    Raises:
        ValueError: When the model or the path cannot be used, or an output is farther than
            `TOLERANCE` from the model's.
    """
    path = Path(output)
    if path.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"wanted a file that ends with .onnx or .pt2, got {path.name}")
    vocabulary = None if classes is None else segmenter.read_classes(classes)
    graph = build_graph(segmenter.model, task, vocabulary)
    generator = torch.Generator().manual_seed(0)
    batch = max(batch_size, 2 if dynamic.batch else 1)
    images = 255 * torch.rand(batch, 3, *size, generator=generator)
    program = export_program(graph, images, dynamic)
    if path.suffix == ".onnx":
        write_onnx(program, path, graph.output_names)
        differences = largest_difference(graph, images, path)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: torch.export.save(program, file))
        differences = largest_difference(graph, images, torch.export.load(path))
    if max(differences.values()) > TOLERANCE:
        raise ValueError(f"{path} differs from the model by {differences}")
    return differences
