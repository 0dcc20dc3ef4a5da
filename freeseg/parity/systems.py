"""The systems that can be compared: how each is run on a folder of stored outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from freeseg.parity.comparison import TensorCheck, compare
from freeseg.parity.golden import Golden


@dataclass(frozen=True)
class Comparison:
    """How a system is compared with its original.

    Attributes:
        run: Computes the stored tensors, by name.
        not_compared: Stored tensors that are no results, or no oracle, and why.
        units: By name, how large a difference of 1 is: of boxes in pixels the side of the photo.
    """

    run: Callable[[Golden], dict[str, Tensor]]
    not_compared: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)


COMPARISONS: dict[str, Comparison] = {}


def check_folder(system: str, folder: str | Path, tolerance: float) -> list[TensorCheck]:
    """Builds a system's model from a folder, runs it, and compares all that is stored there.

    Raises:
        ValueError: On an unknown system, or a folder of another one.
        FileNotFoundError: Where the folder or a file in it does not exist.
    """
    if system not in COMPARISONS:
        raise ValueError(f"wanted one of {', '.join(COMPARISONS)}, got {system!r}")
    golden = Golden.read(folder, system)
    with torch.no_grad():
        found = COMPARISONS[system].run(golden)
    known = COMPARISONS[system]
    return compare(golden.tensors, found, tolerance, known.not_compared, known.units)
