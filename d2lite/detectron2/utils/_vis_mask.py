"""What the visualizer draws: masks of any format, panoptic segments, and their labels."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
import pycocotools.mask as mask_util
import torch


class GenericMask:
    """One object's mask, given as RLE, polygons or a binary array, readable as either.

    Attributes:
        mask: binary uint8 array [H, W].
        polygons: list of flat arrays x0, y0, x1, y1, ...
        has_holes: whether the mask has an inner contour (never, for masks given as polygons).
    """

    def __init__(self, mask_or_polygons, height, width):
        self.height, self.width = height, width
        source = mask_or_polygons
        if isinstance(source, dict):
            self.mask = self._decode(source)
        elif isinstance(source, list):
            self.polygons = [np.asarray(polygon).reshape(-1) for polygon in source]
            self.has_holes = False
        elif isinstance(source, np.ndarray):
            assert source.shape == (height, width), (
                f"mask has shape {source.shape}, the image {(height, width)}"
            )
            self.mask = source.astype("uint8")
        else:
            raise ValueError(
                f"a mask is an RLE dict, a list of polygons or an array, not {source!r}"
                f" of type {type(source)}"
            )

    def _decode(self, rle):
        assert {"counts", "size"} <= set(rle), f"RLE needs counts and size, has {set(rle)}"
        if isinstance(rle["counts"], list):  # uncompressed
            assert tuple(rle["size"]) == (self.height, self.width)
            rle = mask_util.frPyObjects(rle, self.height, self.width)
        return mask_util.decode(rle)

    # Whichever of these the constructor did not set is made when first asked for.

    @cached_property
    def mask(self):
        return self.polygons_to_mask(self.polygons)

    @cached_property
    def polygons(self):
        return self._contours[0]

    @cached_property
    def has_holes(self):
        return self._contours[1]

    @cached_property
    def _contours(self):
        return self.mask_to_polygons(self.mask)

    def mask_to_polygons(self, mask):
        """Trace all contours, holes included; return (polygons, whether there are holes)."""
        *_, contours, tree = cv2.findContours(
            np.ascontiguousarray(mask, dtype="uint8"), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        if tree is None:
            return [], False
        parents = tree.reshape(-1, 4)[:, 3]
        # OpenCV names pixels by their index; their centres lie half a pixel further.
        polygons = [c.reshape(-1) + 0.5 for c in contours if c.size >= 6]
        return polygons, bool((parents >= 0).any())

    def polygons_to_mask(self, polygons):
        """Rasterise polygons to a binary [H, W] array."""
        return mask_util.decode(self._to_rle(polygons))

    def area(self):
        return self.mask.sum()

    def bbox(self):
        """Return the enclosing box x0, y0, x1, y1."""
        x, y, width, height = mask_util.toBbox(self._to_rle(self.polygons))
        return np.array([x, y, x + width, y + height])

    def _to_rle(self, polygons):
        return mask_util.merge(mask_util.frPyObjects(polygons, self.height, self.width))


class _PanopticPrediction:
    """A panoptic map with its segments, largest first, whatever format it came in.

    Args:
        panoptic_seg: integer tensor [H, W] of segment ids.
        segments_info: dicts with "id", "category_id", "isthing", or None when an id is
            ``category_id * metadata.label_divisor + number`` and -1 is void.
        metadata: needed without ``segments_info``.
    """

    def __init__(self, panoptic_seg, segments_info, metadata=None):
        if segments_info is None:
            segments_info = _segments_from_ids(panoptic_seg, metadata)
        self._seg = panoptic_seg
        self._sinfo = {info["id"]: info for info in segments_info}

        ids, areas = (found.numpy() for found in torch.unique(panoptic_seg, return_counts=True))
        order = np.argsort(-areas)
        self._seg_ids = ids[order].tolist()
        self._seg_areas = areas[order]
        for segment_id, area in zip(self._seg_ids, self._seg_areas):
            if segment_id in self._sinfo:
                self._sinfo[segment_id]["area"] = float(area)

    def non_empty_mask(self):
        """Return a bool array [H, W], True where a segment is predicted."""
        void = [segment_id for segment_id in self._seg_ids if segment_id not in self._sinfo]
        assert len(void) <= 1, f"more than one id has no segment: {void}"
        if not void:
            return np.ones(tuple(self._seg.shape), dtype=bool)
        return self._mask_of(~torch.eq(self._seg, void[0]))

    def semantic_masks(self):
        """Yield (mask, info) of the stuff segments."""
        return self._segments(things=False)

    def instance_masks(self):
        """Yield (mask, info) of the thing segments."""
        return self._segments(things=True)

    def _segments(self, things):
        for segment_id in self._seg_ids:
            info = self._sinfo.get(segment_id)  # void pixels have none
            if info is not None and bool(info["isthing"]) == things:
                yield self._mask_of(self._seg == segment_id), info

    @staticmethod
    def _mask_of(mask):
        return mask.numpy().astype(bool)


def _segments_from_ids(panoptic_seg, metadata):
    assert metadata is not None, "without segments_info, metadata must give label_divisor"
    things = set(metadata.thing_dataset_id_to_contiguous_id.values())
    segments = []
    for label in np.unique(panoptic_seg.numpy()).tolist():
        if label != -1:
            category = label // metadata.label_divisor
            segments.append({"id": label, "category_id": category, "isthing": category in things})
    return segments


def _create_text_labels(classes, scores, class_names, is_crowd=None):
    """Return one label per object such as "dog 93%|crowd", or None if nothing is known.

    Args:
        classes: class indices or None.
        scores: scores in 0..1 or None.
        class_names: names by index, or None to print the index.
        is_crowd: flags or None.
    """
    if classes is None and scores is None:
        return None
    columns = []
    if classes is not None:
        columns.append([class_names[c] if class_names else str(c) for c in classes])
    if scores is not None:
        columns.append([f"{score * 100:.0f}%" for score in scores])
    labels = [" ".join(parts) for parts in zip(*columns)]
    if is_crowd is not None:
        labels = [label + "|crowd" * bool(crowd) for label, crowd in zip(labels, is_crowd)]
    return labels
