"""Objects of all photos of a dataset.

Shapes: N objects of a photo.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from freeseg.data.annotation import has_mask

logger = logging.getLogger(__name__)


def joined_rows(parts: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Rows [N, ...] of all photos.

    Raises:
        ValueError: There is none.
    """
    if not any(len(part) for part in parts):
        raise ValueError("no photo of the dataset has an object to point at")
    return np.concatenate(parts)


def counts_of(num_seen: int, num_listed: int | None) -> dict[str, float]:
    """Objects that were judged, and those of the dataset that have no pixel.

    Args:
        num_seen: That were judged.
        num_listed: In the dataset; None: nobody has counted them.
    """
    skipped = 0 if num_listed is None else num_listed - num_seen
    if skipped:
        logger.warning("%d of %d objects have no pixel: they are skipped", skipped, num_listed)
    return {"objects": float(num_seen), "skipped": float(skipped)}


def listed_objects(records: Sequence[Mapping[str, Any]]) -> int:
    """Things in the annotation of records; crowds, and boxes without masks, do not count."""
    return sum(sum(map(_counts, _rows(record))) for record in records)


def _rows(record: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if "pan_seg_file_name" in record:
        return [row for row in record["segments_info"] if row.get("isthing", True)]
    return [row for row in record.get("annotations", ()) if has_mask(row)]


def _counts(row: Mapping[str, Any]) -> bool:
    return not row.get("iscrowd", 0)
