"""Results at another size than they were computed at.

Shapes: K classes, N instances, h w old size, H W new size.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from detectron2.modeling.postprocessing import sem_seg_postprocess
from freeseg.ops import mask_boxes
from freeseg.structures import Frame, PanopticMap, SegmentationResult, SemanticMap


def crop_and_resize(
    maps: Tensor, image_size: tuple[int, int], output_size: tuple[int, int]
) -> Tensor:
    """Maps [K, h, w] of a padded image, without the padding and at the output's size [K, H, W].

    Detectron2's `sem_seg_postprocess`, which enlarges even what has its size already.
    """
    if tuple(output_size) == tuple(image_size):
        return maps[:, : image_size[0], : image_size[1]]
    return sem_seg_postprocess(maps, image_size, *output_size)


def upsample(maps: Tensor, frame: Frame, size: tuple[int, int]) -> Tensor:
    """Maps [K, H, W] at the output's size of maps [K, h, w] of all that the model saw."""
    whole = to_padded_size(maps[None], frame.padded_size)[0]
    return crop_and_resize(whole, frame.model_size, size)


def to_padded_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, K, h, w] at the size [B, K, H, W] of the padded images.

    Parity: LSeg's release doubles its maps with aligned corners, FreeSeg's enlarges its masks so.
    """
    return F.interpolate(maps.float(), size, mode="bilinear", align_corners=True)


def resize_result(result: SegmentationResult, size: tuple[int, int]) -> SegmentationResult:
    """Scores are interpolated; labels, ids and masks take the nearest pixel, as in the release."""
    semantic, instances, panoptic = result.semantic, result.instances, result.panoptic
    if semantic is not None and tuple(semantic.values.shape[-2:]) != size:
        semantic = _resize_semantic(semantic, size)
    if instances is not None and tuple(instances.image_size) != size:
        assert isinstance(instances.masks, Tensor)
        masks = _nearest(instances.masks, size).bool()
        instances = replace(instances, masks=masks, boxes=mask_boxes(masks))
    if panoptic is not None and tuple(panoptic.segment_ids.shape) != size:
        panoptic = _resize_map(panoptic, size)
    return SegmentationResult(semantic, instances, panoptic)


def _resize_semantic(semantic: SemanticMap, size: tuple[int, int]) -> SemanticMap:
    if semantic.scores is None:
        return SemanticMap(labels=_nearest(semantic.values[None], size)[0].long())
    scores = F.interpolate(semantic.scores[None], size, mode="bilinear", align_corners=False)
    return SemanticMap(scores=scores[0])


def _resize_map(panoptic: PanopticMap, size: tuple[int, int]) -> PanopticMap:
    ids = _nearest(panoptic.segment_ids[None], size)[0].to(panoptic.segment_ids.dtype)
    largest = max((segment.id for segment in panoptic.segments), default=0)
    areas = ids.flatten().bincount(minlength=largest + 1).tolist()
    return PanopticMap(
        ids,
        tuple(replace(one, area=areas[one.id]) for one in panoptic.segments if areas[one.id]),
    )


def _nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [N, h, w] of integers at [N, H, W]; exact for values below 2^24."""
    if not len(maps):
        return maps.new_zeros(0, *size)
    return F.interpolate(maps[None].float(), size, mode="nearest-exact")[0]
