"""Sampling of features and labels at points (Kirillov et al., 2020).

Points are (x, y); normalised ones lie in [0, 1] x [0, 1].
Shapes: N images or regions, R regions, P points, C channels, H W map size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from detectron2.structures import BitMasks, Boxes

__all__ = [
    "generate_regular_grid_point_coords",
    "get_point_coords_wrt_image",
    "get_uncertain_point_coords_on_grid",
    "get_uncertain_point_coords_with_randomness",
    "point_sample",
    "point_sample_fine_grained_features",
    "sample_point_labels",
]


def point_sample(input, point_coords, **kwargs):
    """Sample maps bilinearly at normalised points.

    Args:
        input: maps [N, C, H, W].
        point_coords: [N, P, 2], or [N, Hgrid, Wgrid, 2].
        **kwargs: for :func:`torch.nn.functional.grid_sample`.

    Returns:
        [N, C, P], or [N, C, Hgrid, Wgrid].
    """
    is_list = point_coords.dim() == 3
    grid = 2.0 * point_coords - 1.0
    sampled = F.grid_sample(input, grid.unsqueeze(2) if is_list else grid, **kwargs)
    return sampled.squeeze(3) if is_list else sampled


def generate_regular_grid_point_coords(R, side_size, device):  # noqa: N803
    """Return the centres of a regular grid of cells, row by row, [R, side_size**2, 2]."""
    identity = torch.tensor([[[0.5, 0, 0.5], [0, 0.5, 0.5]]], device=device)
    grid = F.affine_grid(identity, [1, 1, side_size, side_size], align_corners=False)
    return grid.view(1, -1, 2).expand(R, -1, -1)


def get_uncertain_point_coords_with_randomness(
    coarse_logits, uncertainty_func, num_points, oversample_ratio, importance_sample_ratio
):
    """Draw points that are mostly where the prediction is uncertain.

    Args:
        coarse_logits: [N, C, H, W].
        uncertainty_func: maps logits [N, C, P] to uncertainties [N, 1, P].
        num_points: P.
        oversample_ratio: ``P * oversample_ratio`` random points are candidates.
        importance_sample_ratio: part of P taken from the most uncertain candidates; the rest are
            new random points.

    Returns:
        Normalised points [N, P, 2].
    """
    assert oversample_ratio >= 1, oversample_ratio
    assert 0 <= importance_sample_ratio <= 1, importance_sample_ratio
    num_maps, device = coarse_logits.shape[0], coarse_logits.device
    num_candidates = int(num_points * oversample_ratio)
    num_uncertain = int(importance_sample_ratio * num_points)
    num_random = num_points - num_uncertain

    candidates = torch.rand(num_maps, num_candidates, 2, device=device)
    # Logits are sampled before the uncertainty is taken: between -1 and 1 it is highest.
    logits = point_sample(coarse_logits, candidates, align_corners=False)
    chosen = torch.topk(uncertainty_func(logits)[:, 0], k=num_uncertain, dim=1).indices  # [N, P']
    points = candidates.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 2))
    if num_random > 0:
        others = torch.rand(num_maps, num_random, 2, device=device)
        points = torch.cat([points, others], dim=1)
    return points


def get_uncertain_point_coords_on_grid(uncertainty_map, num_points):
    """Find the most uncertain cells of maps [R, 1, H, W].

    Returns:
        Flat indices [R, P] and normalised cell centres [R, P, 2]; P is at most H * W.
    """
    num_maps, _, height, width = uncertainty_map.shape
    flat = uncertainty_map.view(num_maps, height * width)
    indices = torch.topk(flat, k=min(num_points, height * width), dim=1).indices
    x = (indices % width).float() * (1.0 / width) + 0.5 / width
    y = torch.div(indices, width, rounding_mode="floor").float() * (1.0 / height) + 0.5 / height
    return indices, torch.stack([x, y], dim=-1)


def point_sample_fine_grained_features(features_list, feature_scales, boxes, point_coords):
    """Sample image features at points given inside boxes.

    Args:
        features_list: maps [N, C, H, W], one per level.
        feature_scales: size of each map relative to the image, such as 1/4.
        boxes: list of N Boxes with R boxes in all.
        point_coords: points [R, P, 2], normalised to the boxes.

    Returns:
        Features [R, sum of C, P] and the points in image pixels [R, P, 2].
    """
    in_image = get_point_coords_wrt_image(Boxes.cat(boxes).tensor, point_coords)
    per_image = in_image.split([len(b) for b in boxes])
    features = []
    for i, points in enumerate(per_image):
        levels = []
        for level, scale in zip(features_list, feature_scales):
            height, width = level.shape[-2:]
            size = torch.tensor([width, height], device=level.device) / scale  # of the image
            sampled = point_sample(level[i : i + 1], (points / size)[None], align_corners=False)
            levels.append(sampled[0].transpose(0, 1))  # [R_i, C, P]
        features.append(torch.cat(levels, dim=1))
    return torch.cat(features), in_image


def get_point_coords_wrt_image(boxes_coords, point_coords):
    """Turn points [R, P, 2] normalised to boxes [R, 4] into image pixels."""
    with torch.no_grad():
        corner, opposite = boxes_coords[:, None, :2], boxes_coords[:, None, 2:]
        return point_coords * (opposite - corner) + corner


def sample_point_labels(instances, point_coords):
    """Sample ground-truth masks at points.

    Args:
        instances: list of Instances with ``gt_masks`` as BitMasks, R in all.
        point_coords: points [R, P, 2] in image pixels.

    Returns:
        Bilinear mask values [R, P].
    """
    with torch.no_grad():
        labels = []
        points_by_image = point_coords.split([len(i) for i in instances])
        for found, points in zip(instances, points_by_image):
            if len(found) == 0:
                continue
            masks = found.gt_masks
            assert isinstance(masks, BitMasks), "set INPUT.MASK_FORMAT to 'bitmask'"
            height, width = masks.image_size
            size = torch.tensor([width, height], dtype=torch.float, device=masks.tensor.device)
            maps = masks.tensor.float().unsqueeze(1)  # [R_i, 1, H, W]
            labels.append(point_sample(maps, points / size, align_corners=False).squeeze(1))
        return torch.cat(labels)
