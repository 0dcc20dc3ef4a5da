"""How near two results are.

Shapes: H W map size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

MIN_SAME_PIXELS = 0.999  # of two segment maps


@dataclass(frozen=True)
class TensorCheck:
    """The comparison of one stored tensor.

    Attributes:
        name: In io.safetensors.
        difference: Largest absolute difference; of segment maps the share of other pixels; None
            where nothing was compared.
        limit: What it may be.
        note: What is to be known about it.
    """

    name: str
    difference: float | None
    limit: float
    note: str = ""

    @property
    def is_ok(self) -> bool:
        return self.difference is None or self.difference <= self.limit

    def __str__(self) -> str:
        if self.difference is None:
            return f"--    {self.name}: {self.note}"
        verdict = "ok  " if self.is_ok else "FAIL"
        note = f"  ({self.note})" if self.note else ""
        return f"{verdict}  {self.name}: {self.difference:.3g} <= {self.limit:g}{note}"


def compare(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    tolerance: float,
    not_compared: Mapping[str, str],
    units: Mapping[str, float] | None = None,
) -> list[TensorCheck]:
    """Checks every stored tensor; one that was not computed and has no excuse fails.

    Args:
        expected: By name.
        found: By name; integer maps [H, W] are segment maps.
        tolerance: Largest absolute difference allowed.
        not_compared: Names that are not compared, and why.
        units: By name, how large a difference of 1 is of values that are no shares.
    """
    units = units or {}
    return [
        TensorCheck(name, None, tolerance, not_compared[name])
        if name in not_compared
        else _check(name, stored, found.get(name), tolerance * units.get(name, 1.0))
        for name, stored in sorted(expected.items())
    ]


def _check(name: str, expected: Tensor, found: Tensor | None, tolerance: float) -> TensorCheck:
    if found is None:
        return TensorCheck(name, math.inf, tolerance, "not computed")
    if expected.shape != found.shape:
        note = f"shape {list(found.shape)}, wanted {list(expected.shape)}"
        return TensorCheck(name, math.inf, tolerance, note)
    if not expected.is_floating_point() and expected.dim() == 2 and name.endswith("panoptic_seg"):
        other = 1 - same_pixels(expected, found)
        return TensorCheck(name, other, 1 - MIN_SAME_PIXELS, "share of pixels, ids renamed")
    if not expected.numel():
        return TensorCheck(name, 0.0, tolerance, "empty")
    expected, found = expected.double(), found.double()
    is_same = expected == found  # infinities too, whose difference is no number
    difference = float((expected - found).masked_fill(is_same, 0.0).abs().max())
    return TensorCheck(name, math.inf if math.isnan(difference) else difference, tolerance)


def same_pixels(first: Tensor, second: Tensor) -> float:
    """Share of pixels at which two segment maps [H, W] agree, up to the numbers of segments.

    Void, 0, is the same in both; a segment of one may be named by one of the other only, the one
    with which it shares most pixels.
    """
    _, rows = first.flatten().unique(return_inverse=True)
    _, columns = second.flatten().unique(return_inverse=True)
    counts = torch.zeros(int(rows.max()) + 1, int(columns.max()) + 1, dtype=torch.int64)
    counts.index_put_((rows, columns), torch.ones_like(rows), accumulate=True)
    is_void = first.unique()[:, None] == 0, second.unique()[None] == 0
    counts[is_void[0] != is_void[1]] = 0
    same = 0
    while int(counts.max()) > 0:
        row, column = divmod(int(counts.argmax()), counts.shape[1])
        same += int(counts[row, column])
        counts[row], counts[:, column] = 0, 0
    return same / first.numel()
