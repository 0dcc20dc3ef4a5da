"""What a system that looks for all there is has to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class EverythingSettings:
    """Where to point in a photo when nobody points, and which of the answers to keep.

    Defaults are those of SAM's automatic mask generator, whose names stand in brackets.

    Attributes:
        points_per_side: Of the grid on the whole photo (points_per_side).
        points_per_batch: Most points that are decoded at once (points_per_batch).
        min_quality: Answers of which the system itself thinks no better are dropped; from 0 down
            none is (pred_iou_thresh).
        min_stability: Least share of a mask that is left when its logits are cut `stability_margin`
            higher, of what there is when they are cut as much lower; from 0 down none is dropped
            (stability_score_thresh).
        stability_margin: In logits, from 0 on (stability_score_offset).
        max_overlap: Intersection by union of boxes above which the worse mask of a window is
            dropped (box_nms_thresh).
        crop_layers: Layer l from 1 on looks at 2^l x 2^l overlapping windows (crop_n_layers).
        max_crop_overlap: As `max_overlap`, of masks from several windows, where that of the smaller
            window stays (crop_nms_thresh).
        crop_overlap: Share of the photo's shorter side by which windows of the first layer overlap,
            half as much in the next (crop_overlap_ratio).
        points_divisor: A layer has so many times fewer points per side than the one before
            (crop_n_points_downscale_factor).
        point_grids: For every layer the points themselves, (x, y) in [0, 1] of a window; then
            `points_per_side` counts for nothing (point_grids).
        min_region_area: Holes and islands of a mask of fewer pixels go; 0 leaves all
            (min_mask_region_area).
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    min_quality: float = 0.88
    min_stability: float = 0.95
    stability_margin: float = 1.0
    max_overlap: float = 0.7
    crop_layers: int = 0
    max_crop_overlap: float = 0.7
    crop_overlap: float = 512 / 1500
    points_divisor: int = 1
    point_grids: Sequence[Sequence[tuple[float, float]]] | None = None
    min_region_area: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number from {least} on, got {value!r}")
        for name in ("max_overlap", "max_crop_overlap", "crop_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not self.stability_margin >= 0:
            raise ValueError(f"stability_margin must be from 0 on, got {self.stability_margin}")
        for name in ("min_quality", "min_stability"):
            if getattr(self, name) != getattr(self, name):
                raise ValueError(f"{name} must be a number, got NaN")
        if self.point_grids is not None:
            self._check_grids(self.point_grids)
        elif self.points_per_side // self.points_divisor**self.crop_layers < 1:
            raise ValueError(
                f"layer {self.crop_layers} has no point: {self.points_per_side} per side, "
                f"divided by {self.points_divisor} in every layer"
            )

    def _check_grids(self, grids: Sequence[Sequence[tuple[float, float]]]) -> None:
        if len(grids) != self.crop_layers + 1:
            raise ValueError(
                f"wanted point_grids of {self.crop_layers + 1} layers, got {len(grids)}"
            )
        for layer, grid in enumerate(grids):
            if not len(grid):
                raise ValueError(f"point_grids[{layer}] is empty")
            for place, point in enumerate(grid):
                if len(point) != 2 or not all(0 <= float(side) <= 1 for side in point):
                    raise ValueError(
                        f"point_grids[{layer}][{place}] must be (x, y) in [0, 1], got {point}"
                    )

    def of_layer(self, layer: int) -> EverythingSettings:
        """Settings that look at one window of a layer, and leave small regions for later."""
        grids = None if self.point_grids is None else (self.point_grids[layer],)
        side = self.points_per_side // self.points_divisor**layer
        return replace(
            self, points_per_side=max(side, 1), crop_layers=0, point_grids=grids, min_region_area=0
        )


_LEAST = {
    "points_per_side": 1,
    "points_per_batch": 1,
    "crop_layers": 0,
    "points_divisor": 1,
    "min_region_area": 0,
}
