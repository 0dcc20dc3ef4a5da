"""The systems that can be compared: how each is run on a folder of stored outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from freeseg.parity.comparison import TensorCheck, compare
from freeseg.parity.freeseg import run_freeseg
from freeseg.parity.golden import Golden
from freeseg.parity.lseg import run_lseg
from freeseg.parity.mask2former import run_mask2former
from freeseg.parity.oneformer import run_oneformer


@dataclass(frozen=True)
class System:
    """One original.

    Attributes:
        run: Computes the stored tensors, by name.
        not_compared: Stored tensors that are no results, or no oracle, and why.
    """

    run: Callable[[Golden], dict[str, Tensor]]
    not_compared: Mapping[str, str] = field(default_factory=dict)


SYSTEMS: Mapping[str, System] = {
    "mask2former": System(run_mask2former, {"image": "the input", "output_size": "the input"}),
    "oneformer": System(run_oneformer, {"image": "the input"}),
    "lseg": System(
        run_lseg,
        dict.fromkeys(("image_normalised", "text_features_unnormalised"), "the input"),
    ),
    "freeseg": System(
        run_freeseg,
        {
            "image": "the input",
            **dict.fromkeys(
                ("instance.scores", "instance.pred_classes", "instance.pred_masks_final"),
                "not compared: the release's instances suffer from its bugs, see FreeSeg's page",
            ),
        },
    ),
}


def check_folder(system: str, folder: str | Path, tolerance: float) -> list[TensorCheck]:
    """Builds a system's model from a folder, runs it, and compares all that is stored there.

    Raises:
        ValueError: On an unknown system, or a folder of another one.
        FileNotFoundError: Where the folder or a file in it does not exist.
    """
    if system not in SYSTEMS:
        raise ValueError(f"wanted one of {', '.join(SYSTEMS)}, got {system!r}")
    golden = Golden.read(folder, system)
    with torch.no_grad():
        found = SYSTEMS[system].run(golden)
    return compare(golden.tensors, found, tolerance, SYSTEMS[system].not_compared)
