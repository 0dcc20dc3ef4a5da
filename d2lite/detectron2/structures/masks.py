"""Masks of instances: as bitmaps, as polygons, and as small bitmaps inside boxes.

Shapes: N instances, H W image size, S mask side.
"""

# `BitMasks` and `ROIMasks` may be scripted: annotations are not postponed
import itertools
from collections.abc import Iterator
from typing import Any, Union

import numpy as np
import pycocotools.mask as mask_util
import torch
from torch import device  # by this name torchscript finds the type of a property

from detectron2.structures.boxes import Boxes


def polygon_area(x: np.ndarray, y: np.ndarray) -> float:
    """Return the area of a polygon by the shoelace formula."""
    return np.abs(np.dot(x, np.roll(y, -1)) - np.dot(np.roll(x, -1), y)) / 2


def polygons_to_bitmask(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """Draw the union of polygons [x0, y0, x1, ...] by COCO's rule: bool [H, W]."""
    if len(polygons) == 0:
        return np.zeros((height, width), dtype=bool)  # COCO's code does not take none
    runs = mask_util.frPyObjects(polygons, height, width)
    return mask_util.decode(mask_util.merge(runs)).astype(bool)


class BitMasks:
    """Masks in a bool tensor [N, H, W]."""

    def __init__(self, tensor: torch.Tensor | np.ndarray):
        if isinstance(tensor, torch.Tensor):
            masks = tensor.to(torch.bool)
        else:
            masks = torch.as_tensor(tensor, dtype=torch.bool, device=torch.device("cpu"))
        assert masks.dim() == 3, masks.size()
        self.image_size = masks.shape[1:]
        self.tensor = masks

    @torch.jit.unused
    def to(self, *args: Any, **kwargs: Any) -> "BitMasks":
        return BitMasks(self.tensor.to(*args, **kwargs))

    @property
    def device(self) -> device:
        return self.tensor.device

    @torch.jit.unused
    def __getitem__(self, item: int | slice | torch.Tensor) -> "BitMasks":
        """Select by an int (one mask), a slice, or an integer or bool tensor."""
        selected = self.tensor[item]
        if isinstance(item, int):
            selected = selected[None]
        assert selected.dim() == 3, (
            f"Indexing on BitMasks with {item} returns a tensor with shape {selected.shape}!"
        )
        return BitMasks(selected)

    @torch.jit.unused
    def __iter__(self) -> Iterator[torch.Tensor]:
        """Yield each mask [H, W]."""
        yield from self.tensor

    @torch.jit.unused
    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self.tensor)})"

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def nonempty(self) -> torch.Tensor:
        """Return bool [N]: whether a mask has any pixel."""
        return self.tensor.flatten(1).any(dim=1)

    @staticmethod
    def from_polygon_masks(
        polygon_masks: Union["PolygonMasks", list[list[np.ndarray]]], height: int, width: int
    ) -> "BitMasks":
        """Draw polygons into an image of this size."""
        masks = np.zeros((len(polygon_masks), height, width), dtype=bool)
        for mask, polygons in zip(masks, polygon_masks):
            mask[:] = polygons_to_bitmask(polygons, height, width)
        return BitMasks(torch.from_numpy(masks))

    def get_bounding_boxes(self) -> Boxes:
        """Return the tight box around each mask; all zero for an empty one."""
        ends = [_extent(self.tensor.any(dim=axis)) for axis in (1, 2)]  # columns, then rows
        (x0, x1), (y0, y1) = ends
        return Boxes(torch.stack([x0, y0, x1, y1], dim=1).float().cpu())

    @staticmethod
    def cat(bitmasks_list: list["BitMasks"]) -> "BitMasks":
        assert isinstance(bitmasks_list, (list, tuple))
        assert len(bitmasks_list) > 0
        assert all(isinstance(masks, BitMasks) for masks in bitmasks_list)
        joined = torch.cat([masks.tensor for masks in bitmasks_list], dim=0)
        return type(bitmasks_list[0])(joined)


def _extent(occupied: torch.Tensor):
    """Return the first and one past the last True of each row of [N, L]; 0, 0 if there is none."""
    length = occupied.shape[1]
    position = torch.arange(length, device=occupied.device)
    if length == 0:
        return (occupied.new_zeros(len(occupied), dtype=torch.long),) * 2
    last = torch.where(occupied, position + 1, 0).amax(dim=1)
    first = torch.where(occupied, position, length).amin(dim=1)
    return torch.where(last > 0, first, 0), last


class PolygonMasks:
    """Masks as polygons: per instance a list of float64 arrays [x0, y0, x1, y1, ...]; on CPU."""

    def __init__(self, polygons: list[list[torch.Tensor | np.ndarray]]):
        if not isinstance(polygons, list):
            raise ValueError(
                "Cannot create PolygonMasks: Expect a list of list of polygons per image. "
                f"Got '{type(polygons)}' instead."
            )
        self.polygons: list[list[np.ndarray]] = [_as_arrays(instance) for instance in polygons]

    def to(self, *args: Any, **kwargs: Any) -> "PolygonMasks":
        """Return itself: polygons stay on CPU."""
        return self

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def get_bounding_boxes(self) -> Boxes:
        """Return the tight box around each instance's polygons.

        Parity: the far corner is never negative, as upstream starts its maximum at zero.
        """
        boxes = torch.zeros(len(self.polygons), 4)
        for box, instance in zip(boxes, self.polygons):
            points = np.concatenate([np.empty(0), *instance]).reshape(-1, 2).astype(np.float32)
            box[:2] = torch.from_numpy(points.min(axis=0, initial=np.inf))
            box[2:] = torch.from_numpy(points.max(axis=0, initial=0.0))
        return Boxes(boxes)

    def nonempty(self) -> torch.Tensor:
        """Return bool [N]: whether an instance has any polygon."""
        return torch.tensor([len(instance) > 0 for instance in self.polygons], dtype=torch.bool)

    def __getitem__(self, item: int | slice | list[int] | torch.Tensor) -> "PolygonMasks":
        """Select by an int (one instance), a slice, a list, or an integer or bool tensor."""
        if isinstance(item, slice):
            return PolygonMasks(self.polygons[item])
        if isinstance(item, int):
            item = [item]
        elif isinstance(item, torch.Tensor):
            item = _positions(item)
        return PolygonMasks([self.polygons[i] for i in item])

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        """Yield the polygons of each instance."""
        return iter(self.polygons)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_instances={len(self)})"

    def __len__(self) -> int:
        return len(self.polygons)

    def area(self) -> torch.Tensor:
        """Return the area [N]: the sum of the polygons' own areas."""
        return torch.tensor(
            [sum(polygon_area(p[0::2], p[1::2]) for p in instance) for instance in self.polygons]
        )

    @staticmethod
    def cat(polymasks_list: list["PolygonMasks"]) -> "PolygonMasks":
        assert isinstance(polymasks_list, (list, tuple))
        assert len(polymasks_list) > 0
        assert all(isinstance(masks, PolygonMasks) for masks in polymasks_list)
        joined = itertools.chain.from_iterable(masks.polygons for masks in polymasks_list)
        return type(polymasks_list[0])(list(joined))


def _as_arrays(instance: list[Any]) -> list[np.ndarray]:
    if not isinstance(instance, list):
        raise ValueError(
            "Cannot create polygons: Expect a list of polygons per instance. "
            f"Got '{type(instance)}' instead."
        )
    on_cpu = [p.cpu().numpy() if isinstance(p, torch.Tensor) else p for p in instance]
    arrays = [np.array(p, dtype=np.float64) for p in on_cpu]
    for polygon in arrays:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"Cannot create a polygon from {len(polygon)} coordinates.")
    return arrays


def _positions(index: torch.Tensor) -> list[int]:
    if index.dtype == torch.bool:
        assert index.dim() == 1, index.shape
        index = index.nonzero()[:, 0]
    elif index.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"Unsupported tensor dtype={index.dtype} for indexing!")
    return index.tolist()
