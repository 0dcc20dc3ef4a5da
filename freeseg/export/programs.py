"""Exports a graph with ``torch.export``, writes it as ONNX, and compares the two with the model.

Shapes: B images, H W padded image size.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from freeseg.export.lowering import standard_operators
from freeseg.files import write_bytes
from freeseg.graphs import ExportedGraph

INPUT_NAME = "images"


@dataclass(frozen=True)
class DynamicSize:
    """Which sizes of the input may vary when the program runs.

    Attributes:
        batch: The number of images.
        sides: Height and width, from `min_side` to `max_side`, in steps of the divisibility.
        min_side: In pixels.
        max_side: In pixels.
    """

    batch: bool = False
    sides: bool = False
    min_side: int = 64
    max_side: int = 2048


FIXED = DynamicSize()


def export_program(
    graph: ExportedGraph, images: Tensor, dynamic: DynamicSize = FIXED
) -> ExportedProgram:
    """The graph as a program of PyTorch's standard operators.

    Args:
        graph: Of a model in evaluation mode.
        images: An example [B, 3, H, W]; B is 2 or more where the batch is dynamic, because
            ``torch.export`` takes a size of 1 for a constant.
        dynamic: What may vary.

    Raises:
        ValueError: When the example's sides are no multiples of the model's divisibility.
    """
    step = graph.size_divisibility
    if images.shape[-2] % step or images.shape[-1] % step:
        raise ValueError(
            f"wanted sides that are multiples of {step}, got {images.shape[-1]}x{images.shape[-2]}"
        )
    shapes: dict[int, Any] = {}
    if dynamic.batch:
        shapes[0] = Dim("batch", min=1, max=1024)
    if dynamic.sides:
        limits = {"min": -(-dynamic.min_side // step), "max": dynamic.max_side // step}
        shapes[2], shapes[3] = step * Dim("rows", **limits), step * Dim("columns", **limits)
    with torch.no_grad(), standard_operators(graph):
        return torch.export.export(
            graph, (images,), dynamic_shapes={INPUT_NAME: shapes} if shapes else None, strict=False
        )


def write_onnx(
    program: ExportedProgram, path: str | os.PathLike[str], output_names: tuple[str, ...]
) -> None:
    """Writes a program as ONNX in the opset that PyTorch's exporter writes.

    Args:
        program: Of `export_program`.
        path: Of the file.
        output_names: Names of its outputs.

    Raises:
        ImportError: Without the packages of the extra "export".
    """
    try:
        importlib.import_module("onnxscript")
    except ImportError as error:
        raise ImportError("ONNX needs the extra: pip install 'freeseg[export]'") from error
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    onnx_program = torch.onnx.export(
        program,
        input_names=[INPUT_NAME],
        output_names=list(output_names),
        dynamo=True,
        verbose=False,
    )
    assert onnx_program is not None
    write_bytes(Path(path), onnx_program.model_proto.SerializeToString())


def largest_difference(
    graph: ExportedGraph, images: Tensor, program: ExportedProgram | str | os.PathLike[str]
) -> dict[str, float]:
    """The largest absolute difference of every output between a graph and what was made of it.

    Args:
        graph: The model's.
        images: [B, 3, H, W].
        program: An exported program, or the path of an ONNX file, which onnxruntime runs.
    """
    with torch.no_grad():
        expected = [output.numpy() for output in graph(images)]
        if isinstance(program, ExportedProgram):
            found = [output.numpy() for output in program.module()(images)]
        else:
            found = run_onnx(program, images)
    return {
        name: float(np.abs(ours - theirs).max())
        for name, ours, theirs in zip(graph.output_names, expected, found)
    }


def run_onnx(path: str | os.PathLike[str], images: Tensor) -> list[Any]:
    """Outputs of an ONNX file for images [B, 3, H, W], on the CPU."""
    onnxruntime: Any = importlib.import_module("onnxruntime")
    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {INPUT_NAME: images.numpy()}))
