"""Edges beside drawn boundaries: which pixels of one are pixels of the other, and how many.

This is BSDS500's protocol (Martin, Fowlkes and Malik, PAMI 2004; Arbelaez et al., PAMI 2011).

Shapes: A annotators, T thresholds, H W photo size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from freeseg.ops.edges import EdgeMask, Strengths, thinned

MAX_DISTANCE = 0.0075  # by which a pixel may lie beside its partner, in diagonals of the photo

# what is counted at every threshold
MATCHED_DRAWN, DRAWN, MATCHED_FOUND, FOUND = range(4)

Counts = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


def thresholds_of(count: int) -> Floats:
    """So many [T] in equal steps between 0 and 1, both left out."""
    return np.arange(1, count + 1, dtype=np.float64) / (count + 1)


def count_edges(
    strengths: Strengths,
    boundaries: EdgeMask,
    thresholds: Floats,
    max_distance: float = MAX_DISTANCE,
) -> Counts:
    """What is found and drawn in one photo, and how much of it has a partner, [T, 4].

    At a threshold the strengths that are as large, thinned, are matched to every annotator's
    boundaries. Drawn pixels are counted for each annotator, a found one once: its partner may be
    anybody's.

    Args:
        strengths: [H, W] in [0, 1].
        boundaries: [A, H, W].
        thresholds: [T], increasing.
        max_distance: Between partners, in diagonals of the photo.

    Raises:
        ValueError: The sizes differ.
    """
    if strengths.shape != boundaries.shape[1:]:
        raise ValueError(f"edges are {strengths.shape}, boundaries {boundaries.shape[1:]}")
    reach = max_distance * float(np.hypot(*strengths.shape))
    counts = np.zeros((len(thresholds), 4), dtype=np.int64)
    for row, threshold in zip(counts, thresholds):
        found = thinned(strengths >= threshold)
        has_partner = np.zeros_like(found)
        for drawn in boundaries:
            of_found, of_drawn = match_pixels(found, drawn, reach)
            has_partner |= of_found
            row[MATCHED_DRAWN] += np.count_nonzero(of_drawn)
        row[DRAWN] = np.count_nonzero(boundaries)
        row[MATCHED_FOUND], row[FOUND] = np.count_nonzero(has_partner), np.count_nonzero(found)
    return counts


def match_pixels(first: EdgeMask, second: EdgeMask, reach: float) -> tuple[EdgeMask, EdgeMask]:
    """The pixels of two masks [H, W] that become pairs: as many as can be, each of one pair.

    Args:
        first: One of them.
        second: The other.
        reach: Largest distance of a pair in pixels.

    Returns:
        What of either has a partner, bool [H, W].
    """
    places, others = np.flatnonzero(first), np.flatnonzero(second)
    one, other = _largest_matching(*_near(first, second, reach), len(places), len(others))
    matched = np.zeros_like(first), np.zeros_like(second)
    matched[0].flat[places[one]] = True
    matched[1].flat[others[other]] = True
    return matched


def _near(first: EdgeMask, second: EdgeMask, reach: float) -> tuple[Numbers, Numbers]:
    """Possible pairs: the number of a pixel of the first mask, and of one of the second."""
    steps, margin = _steps_within(reach), int(reach)
    numbers = np.full(second.shape, -1)
    numbers[second] = np.arange(np.count_nonzero(second))
    padded = np.pad(numbers, margin, constant_values=-1)
    rows, columns = (side[:, None] + margin for side in np.nonzero(first))
    near = padded[rows + steps[:, 0], columns + steps[:, 1]]  # [pixels, steps]
    one, step = np.nonzero(near >= 0)
    return one, near[one, step]


def _largest_matching(
    one: Numbers, other: Numbers, count: int, other_count: int
) -> tuple[Numbers, Numbers]:
    """The most of possible pairs that share nobody.

    As a flow from a source through everyone once into a sink: SciPy's own matching of graphs may
    take minutes for a photo.
    """
    from scipy.sparse import csr_array  # slow to import
    from scipy.sparse.csgraph import maximum_flow

    source, sink = count + other_count, count + other_count + 1
    numbers, other_numbers = np.arange(count), count + np.arange(other_count)
    begins = np.concatenate([one, np.full(count, source), other_numbers])
    ends = np.concatenate([count + other, numbers, np.full(other_count, sink)])
    capacities = np.ones(len(begins), dtype=np.int32)
    graph = csr_array((capacities, (begins, ends)), shape=(sink + 1, sink + 1))
    flow = maximum_flow(graph, source, sink, method="dinic").flow.tocoo()
    is_pair = (flow.data > 0) & (flow.row < count)
    return flow.row[is_pair], flow.col[is_pair] - count


def _steps_within(reach: float) -> npt.NDArray[np.int64]:
    """Rows and columns [S, 2] of all steps of at most so many pixels."""
    sides = np.arange(-int(reach), int(reach) + 1)
    steps = np.stack(np.meshgrid(sides, sides, indexing="ij"), axis=-1).reshape(-1, 2)
    return steps[(steps**2).sum(1) <= reach**2]


def edge_scores(counts: Sequence[Counts]) -> dict[str, float]:
    """ODS, OIS, AP and R50 in [0, 1] of photos, from what `count_edges` gives of each.

    ODS is the best F of all photos together at one threshold, OIS the F of all together when each
    has its own best one. AP is the mean precision at recalls of 0, 0.01 ... 1 and R50 the recall at
    a precision of one half; between thresholds precision and recall go on straight.
    """
    every = np.stack(counts)  # [photos, T, 4]
    recall, precision = recall_and_precision(every.sum(0))
    of_photo = f_measure(*recall_and_precision(every))  # [photos, T]
    best = every[np.arange(len(every)), of_photo.argmax(1)]
    return {
        "ODS": best_between(recall, precision),
        "OIS": float(f_measure(*recall_and_precision(best.sum(0)))),
        "AP": average_precision(recall, precision),
        "R50": recall_at_half(recall, precision),
    }


def recall_and_precision(counts: Counts) -> tuple[Floats, Floats]:
    """[...] each, of counts [..., 4]; 0 where there is nothing to count."""
    return (
        counts[..., MATCHED_DRAWN] / np.maximum(counts[..., DRAWN], 1),
        counts[..., MATCHED_FOUND] / np.maximum(counts[..., FOUND], 1),
    )


def f_measure(recall: Floats, precision: Floats) -> Floats:
    """Their harmonic mean [...], 0 where both are 0."""
    total = recall + precision
    return np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total > 0)


def best_between(recall: Floats, precision: Floats) -> float:
    """The largest F of thresholds [T] and of a hundred places between each and the next."""
    share = np.linspace(0, 1, 100)[:, None]
    between = (
        values[:-1] * (1 - share) + values[1:] * share if len(values) > 1 else values
        for values in (recall, precision)
    )
    return float(f_measure(*between).max())


def average_precision(recall: Floats, precision: Floats) -> float:
    """Mean precision [T] at recalls in steps of 0.01; 0 beyond the smallest and the largest."""
    known, places = np.unique(recall, return_index=True)
    if len(known) < 2:
        return 0.0
    wanted = np.arange(101) / 100
    return float(np.interp(wanted, known, precision[places], left=0, right=0).sum() / 100)


def recall_at_half(recall: Floats, precision: Floats) -> float:
    """Recall [T] where the precision is one half, or the smallest that there is above it."""
    known, places = np.unique(precision, return_index=True)
    return float(np.interp(max(known[0], 0.5), known, recall[places]))
